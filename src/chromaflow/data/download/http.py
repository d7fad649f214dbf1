"""Download one file over HTTP: redirects checked, partial files resumed, limits enforced."""

import asyncio
import email.utils
import http
import re
import socket
import ssl
import time
from collections import defaultdict
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

import chromaflow
from chromaflow import settings
from chromaflow.data.download import addresses
from chromaflow.data.download.journal import RESUME_FROM, Finished, Journal, Started, origin_of
from chromaflow.data.download.partial_file import Limit, Partial, fault_of
from chromaflow.data.download.report import OnBytes, PassingError, RefusedError, State
from chromaflow.data.download.scheduler import Job

MOST_REDIRECTS = 5
SLOWEST = 1000  # bytes a second, over the stall timeout
_PRIVATE = "redirected to a private network"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524})


class _Resolver(AbstractResolver):
    """Resolves names when a connection is made; limits where they may lead, and remembers it.

    Args:
        allowed: The kinds of network that a name may lead into; None allows all.
        seen: Where names have led; is added to.
    """

    def __init__(
        self,
        allowed: set[addresses.Network] | None,
        seen: defaultdict[str, set[addresses.Network]],
    ) -> None:
        self._inner = aiohttp.DefaultResolver()
        self._allowed = allowed
        self._seen = seen

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        kinds = {addresses.network(item["host"]) for item in found}
        if self._allowed is not None and not kinds <= self._allowed:
            raise RefusedError(_PRIVATE)
        self._seen[host] |= kinds
        return found

    async def close(self) -> None:
        await self._inner.close()


def _status_text(status: int) -> str:
    try:
        return f"the server answered {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"the server answered {status}"


def _seconds_to_wait(headers: Any) -> float:
    """What Retry-After asks for, given in seconds or as a date; 0 where it asks nothing."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _validator(headers: Any) -> str:
    """What shows for certain that a file has not changed: a strong ETag, or an old enough date."""
    tag = str(headers.get("ETag", ""))
    if tag.startswith('"'):
        return tag
    try:
        modified = email.utils.parsedate_to_datetime(headers.get("Last-Modified", ""))
        answered = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        certain = (answered - modified).total_seconds() >= 1
    except (ValueError, TypeError, OverflowError):
        return ""
    return str(headers["Last-Modified"]) if certain else ""


def _literal(host: str) -> addresses.Network | None:
    """The network of a host that is written as an IP address; None for a name."""
    try:
        return addresses.network(host)
    except ValueError:
        return None


def _url(address: str) -> URL:
    """An address for the client; what is quoted already, such as a signature, stays as it is."""
    try:
        return URL(address, encoded=bool(re.fullmatch(r"[!-~]+", address)))
    except ValueError:
        raise RefusedError("the address is invalid") from None


class Transfer:
    """A client for many files; a context, inside a running event loop.

    Args:
        policy: The group `download` of the settings.
        journal: Of the cache.
        limit: How large a file may be.
        on_bytes: Called with how many bytes of a file are there, and how many it has, if known.
    """

    def __init__(
        self,
        policy: "settings.DownloadSettings",
        journal: Journal,
        limit: Limit,
        on_bytes: OnBytes,
    ) -> None:
        self._policy = policy
        self._journal = journal
        self._limit = limit
        self._on_bytes = on_bytes
        self._proxies = addresses.Proxies(policy.proxy)
        self._seen: defaultdict[str, set[addresses.Network]] = defaultdict(set)
        self._asking = self._session(_Resolver(None, self._seen))
        # For redirects: connections are kept apart by the networks that they may lead into.
        self._led: dict[addresses.Network, aiohttp.ClientSession] = {}

    def _session(self, resolver: AbstractResolver) -> aiohttp.ClientSession:
        policy = self._policy
        contact = f" (+{policy.contact})" if policy.contact else ""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=policy.connections,
                limit_per_host=policy.connections_per_host,
                resolver=resolver,
            ),
            timeout=aiohttp.ClientTimeout(
                sock_connect=policy.connect_timeout, sock_read=policy.stall_timeout
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={
                "User-Agent": f"chromaflow/{chromaflow.__version__}{contact}",
                "Accept-Encoding": "identity",
            },
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in (self._asking, *self._led.values()):
            await session.close()

    async def fetch(self, job: Job) -> tuple[State, int]:
        """Fetch one file; give its state and the bytes that came.

        Raises:
            RefusedError: It cannot be had.
            PassingError: It did not arrive, and may arrive the next time.
            OSError: The disk does not take it.
        """
        with Partial(job.path, job.checksum, job.size, self._limit) as partial:
            try:
                return await self._fetch(job, partial)
            except PassingError as problem:
                failure: Exception = problem
            except RefusedError as reason:
                failure = reason
            except aiohttp.ClientError as error:
                failure = _explained(error)
            except (ConnectionError, ssl.SSLError):
                failure = PassingError("the connection ended early")
            except socket.gaierror:
                failure = PassingError("the host name cannot be resolved")
            except TimeoutError:
                failure = PassingError("the server stalled")
            except ValueError:  # such as names of hosts that cannot be encoded
                failure = RefusedError("the address is invalid")
            if isinstance(failure, RefusedError) or not self._journal.started(job.name):
                partial.remove()
            raise failure

    async def _fetch(self, job: Job, partial: Partial) -> tuple[State, int]:
        started = self._journal.started(job.name)
        if started and started.begins(job.address, job.checksum, partial.size):
            await asyncio.to_thread(partial.hash_part)
        else:
            partial.empty()
        before = partial.size
        if started is None or not before or partial.size != started.total:
            headers = {}
            if before:
                headers["Range"] = f"bytes={before}-"
                if started and started.validator:
                    headers["If-Range"] = started.validator
            async with await self._follow(job.address, headers) as response:
                before = self._accept(job, partial, response, started)
                await self._stream(job, partial, response)
        partial.check(resumed=before > 0)
        self._journal.note(Finished(job.name, partial.size, partial.sha256, job.checksum))
        partial.take_place()
        return ("resumed" if before else "fetched"), partial.size - before

    async def _follow(self, address: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """Ask, and follow redirects as far as they are allowed."""
        url, session = _url(address), self._asking
        # Without a limit of its own a head could drip for days.
        patience = self._policy.connect_timeout + self._policy.stall_timeout
        for _ in range(MOST_REDIRECTS + 1):
            proxy = self._proxies.of(url.scheme, url.host or "")
            async with asyncio.timeout(patience):
                response = await session.get(
                    url, headers=headers, allow_redirects=False, proxy=proxy
                )
            place = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not place:
                return response
            response.release()
            target = url.join(_url(place))
            addresses.check_redirect(str(url), str(target))
            session = self._session_for(target, self._network(url.raw_host or ""))
            url = target
        raise RefusedError(f"redirected more than {MOST_REDIRECTS} times")

    def _network(self, host: str) -> addresses.Network:
        """Where a host has led; a name that led into several networks, or none, counts as open."""
        kinds = self._seen[host]
        led: addresses.Network = next(iter(kinds)) if len(kinds) == 1 else "open"
        return _literal(host) or led

    def _session_for(self, url: URL, home: addresses.Network) -> aiohttp.ClientSession:
        """The session for a redirect, which leads into the open network or stays at home.

        Raises:
            RefusedError: It leads elsewhere; of a name this shows when it is resolved.
        """
        if (_literal(url.raw_host or "") or home) not in ("open", home):
            raise RefusedError(_PRIVATE)
        if self._proxies.of(url.scheme, url.host or ""):
            return self._asking  # a proxy resolves the name itself, and may itself be private
        if home not in self._led:
            self._led[home] = self._session(_Resolver({"open", home}, self._seen))
        return self._led[home]

    def _accept(
        self, job: Job, partial: Partial, response: aiohttp.ClientResponse, started: Started | None
    ) -> int:
        """Check an answer by its head; give the number of bytes that are there from before."""
        status = response.status
        if status in (206, 416) and started is not None and partial.size:
            if self._continues(partial, response, started):
                return partial.size
            partial.empty()
            raise PassingError("the server sent a different range than requested")
        if status in _PASSING:
            raise PassingError(_status_text(status), _seconds_to_wait(response.headers))
        if status != http.HTTPStatus.OK:
            raise RefusedError(_status_text(status))
        partial.empty()  # the file has changed, or the server knows no parts
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding not in ("identity", ""):
            raise RefusedError("the server compressed it without being asked")
        total = response.content_length
        if total is not None:
            partial.expect(total)
        validator = _validator(response.headers)
        if (total is None or total > RESUME_FROM) and (validator or job.checksum):
            self._journal.note(Started(job.name, origin_of(job.address), validator, total))
        return 0

    @staticmethod
    def _continues(partial: Partial, response: aiohttp.ClientResponse, started: Started) -> bool:
        """Whether a 206 resumes where the part ends, or a 416 shows that nothing is missing."""
        tag = response.headers.get("ETag")
        date = response.headers.get("Last-Modified")
        given = tag if started.validator.startswith('"') else date
        if started.validator and given not in (None, started.validator):
            return False
        part = response.headers.get("Content-Range", "")
        if response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return part == f"bytes */{partial.size}"
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", part)
        if match is None or int(match[1]) != partial.size:
            return False
        return started.total is None or match[3] in ("*", str(started.total))

    async def _stream(self, job: Job, partial: Partial, response: aiohttp.ClientResponse) -> None:
        """Write what comes, as it comes."""
        if response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        window, since, sniffed = time.monotonic(), partial.size, partial.size > 0
        coming = response.content_length
        total = None if coming is None else partial.size + coming
        async for data in response.content.iter_any():
            partial.write(data)
            self._on_bytes(partial.size, total)
            if not sniffed and partial.size >= 64:
                sniffed = True
                if fault := fault_of(partial.head, job.name):
                    raise RefusedError(fault)
            if (now := time.monotonic()) - window > self._policy.stall_timeout:
                if partial.size - since < SLOWEST * (now - window):
                    raise PassingError("the server stalled")
                window, since = now, partial.size
        if job.size is not None and partial.size < job.size:
            raise PassingError("the connection ended early")


# The first kind that fits counts; what the client says itself may hold an address.
_PROBLEMS: tuple[tuple[type[aiohttp.ClientError], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "the host name cannot be resolved"),
    (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached"),
    (aiohttp.ConnectionTimeoutError, "the host cannot be reached"),
    (aiohttp.ServerTimeoutError, "the server stalled"),
    (aiohttp.ClientConnectorError, "the host cannot be reached"),
    (aiohttp.ClientHttpProxyError, "the proxy refused the request"),
    (aiohttp.ClientResponseError, "the server's answer is not HTTP"),
)


def _explained(error: aiohttp.ClientError) -> RefusedError | PassingError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return RefusedError("the server's certificate is not valid")
    if isinstance(error, aiohttp.InvalidURL):
        return RefusedError("the address is invalid")
    reasons = (reason for kind, reason in _PROBLEMS if isinstance(error, kind))
    reason = next(reasons, "the connection ended early")
    unknown = isinstance(error, aiohttp.ClientConnectorDNSError) and (
        error.os_error.errno == socket.EAI_NONAME
    )
    refused = isinstance(error, aiohttp.ClientHttpProxyError) and error.status not in _PASSING
    return RefusedError(reason) if unknown or refused else PassingError(reason)
