"""Fetch many files from servers into a cache, politely, and go on after any kill.

A file takes its name in the cache only when it is complete and is what it should be. What one
server or one file does wrong stops that file, with a reason; only a full disk stops all.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chromaflow import console, settings
from chromaflow.data.download import addresses, object_store
from chromaflow.data.download.journal import Finished, Journal, open_journal, partial_of
from chromaflow.data.download.partial_file import Limit
from chromaflow.data.download.report import (
    FileBar,
    OnBytes,
    Outcome,
    PassingError,
    Progress,
    RefusedError,
    Report,
    Summary,
    show,
    size_text,
)
from chromaflow.data.download.scheduler import Job, Schedule
from chromaflow.errors import DataError, ServerError
from chromaflow.project import files

if TYPE_CHECKING:
    from chromaflow.data.download.http import Transfer

__all__ = ["Download", "Outcome", "Report", "Summary", "download", "fetch_one", "show"]

_GO_ON = "run the command again: it goes on from here"
# A path that cannot be a file is that file's fault; other errors of the disk concern all of them.
_BAD_PATHS = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EILSEQ)
_NO_PATH = "no path for a file: {}"
_CHECKSUM = re.compile(r"(?i)sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}")
_LONGEST_NAME = 240  # bytes; most disks allow 255, and a part's name is longer
_LONGEST_DELAY = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Download:
    """A file on a server.

    Args:
        address: http, https, s3, gs or file.
        path: Where it goes.
        size: Bytes, or None; another size is refused.
        checksum: `sha256:<hex>`, `md5:<hex>` or empty; other bytes are refused.
    """

    address: str
    path: Path
    size: int | None = None
    checksum: str = ""


class _Fetching:
    """The work of one call.

    Args:
        policy: The group `download` of the settings.
        journal: Of the cache.
        limit: How large a file may be.
        advance: Told of every file that has ended.
        on_bytes: Told how many bytes of a file are there, and how many it has, if known.
    """

    def __init__(
        self,
        policy: settings.DownloadSettings,
        journal: Journal,
        limit: Limit,
        advance: Callable[[int], object],
        on_bytes: OnBytes,
    ) -> None:
        self._policy = policy
        self._journal = journal
        self._limit = limit
        self._advance = advance
        self._on_bytes = on_bytes
        self._random = random.Random()  # noqa: S311  (spreads retries; no secret)
        self._rows: list[Outcome] = []

    async def run(self, downloads: Iterable[Download]) -> list[Outcome]:
        """Fetch files; give what came of each, in the order in which they ended.

        Raises:
            UserError: The disk is full, or a setting cannot be used.
            OSError: The disk does not take files for another reason.
        """
        # Its library loads slowly, and sources that are on disk shall not wait for it.
        from chromaflow.data.download.http import Transfer  # noqa: PLC0415

        # Stores are read in threads, which by themselves are fewer than the connections.
        threads = ThreadPoolExecutor(self._policy.connections)
        asyncio.get_running_loop().set_default_executor(threads)
        self._schedule = Schedule(self._policy)
        for item in downloads:
            self._plan(item)
        async with Transfer(self._policy, self._journal, self._limit, self._on_bytes) as transfer:
            width = range(self._schedule.width)
            workers = [asyncio.ensure_future(self._work(transfer)) for _ in width]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return self._rows

    def _plan(self, item: Download) -> None:
        address = addresses.mirrored(item.address, self._policy.mirrors)
        try:
            addresses.check_address(address)
        except RefusedError as reason:
            self._end(Outcome(item.path, "failed", str(reason)))
            return
        name = name_in(self._journal.cache, item.path)
        host = self._schedule.host(addresses.host_of(address))
        self._schedule.add(Job(address, item.path, name, item.checksum.lower(), item.size, host))

    def _end(self, outcome: Outcome) -> None:
        self._rows.append(outcome)
        self._advance(1)

    async def _work(self, transfer: "Transfer") -> None:
        while (job := await self._schedule.take()) is not None:
            if outcome := await self._try(job, transfer):
                self._end(outcome)
                self._schedule.done(job)

    async def _try(self, job: Job, transfer: "Transfer") -> Outcome | None:
        """Try one file once; None where it will be tried again."""
        if job.host.verdict:
            await asyncio.sleep(0)  # a host may have a million files, and others are at work
            return Outcome(job.path, "failed", job.host.verdict, passing=True)
        self._check_space()
        failure = ""
        try:
            if urlsplit(job.address).scheme in addresses.STORES:
                state, received = await object_store.fetch(
                    job, self._journal, self._limit, self._on_bytes
                )
            else:
                state, received = await transfer.fetch(job)
        except RefusedError as reason:
            failure = str(reason)
        except PassingError as problem:
            return self._retry(job, problem)
        except OSError as error:
            if error.errno not in _BAD_PATHS:
                raise
            failure = _NO_PATH.format(error.strerror)
        self._schedule.judge(job.host, "")
        if failure:
            return Outcome(job.path, "failed", failure)
        return Outcome(job.path, state, received=received)

    def _retry(self, job: Job, problem: PassingError) -> Outcome | None:
        """Try a file again later, if it is worth it."""
        reason = str(problem)
        if problem.wait > self._policy.longest_wait:
            reason += f" and asks to wait {problem.wait:.0f} s (download.longest_wait is less)"
            self._schedule.give_up(job.host, reason)
        elif job.tries < self._policy.retries:
            delay = min(self._policy.retry_delay * 2**job.tries, _LONGEST_DELAY)
            delay *= self._random.uniform(0.5, 1.5)
            if problem.wait:
                self._schedule.pause(job.host, problem.wait)
            self._schedule.again(job, max(delay, problem.wait))
            return None
        self._schedule.judge(job.host, reason)
        return Outcome(job.path, "failed", reason, passing=True)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._journal.cache).free
        if free < self._policy.reserve:
            raise DataError(
                f"{self._journal.cache}: {size_text(free)} are free, less than "
                f"download.reserve = {size_text(self._policy.reserve)}.",
                f"make room, then {_GO_ON}",
            )


def name_in(cache: Path, path: Path) -> str:
    """The path of a file below its cache.

    Raises:
        RefusedError: It leads out, or to what the cache keeps for itself, or is too long.
    """
    # Text is compared, not paths: there may be millions.
    whole, root = os.path.normpath(path), os.path.join(os.path.normpath(cache), "")  # noqa: PTH118
    name = os.path.basename(whole)  # noqa: PTH119
    if not whole.startswith(root) or name.startswith("."):
        raise RefusedError("its path leads out of the cache")
    if len(os.fsencode(name)) > _LONGEST_NAME:
        raise RefusedError(_NO_PATH.format("its name is too long"))
    return whole.removeprefix(root)


def _has(path: Path, checksum: str) -> bool:
    """Whether a file has a checksum of the form `<algorithm>:<hex>`."""
    algorithm, _, wanted = checksum.lower().partition(":")
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == wanted


def _stands(journal: Journal, item: Download) -> bool:
    """Whether a file is complete and what it should be; one that is not is removed.

    Raises:
        RefusedError: Its path or its checksum cannot be used.
    """
    if item.checksum and not _CHECKSUM.fullmatch(item.checksum):
        raise RefusedError("its checksum is neither sha256:<hex> nor md5:<hex>")
    name = name_in(journal.cache, item.path)
    known, there = journal.finished(name), item.path.is_file()
    # A kill may have come between the note and the new name.
    place = item.path if there or known is None else partial_of(item.path)
    if place.is_file() and (known or item.checksum):
        size = place.stat().st_size
        fits = size == (known.size if known else size) and item.size in (None, size)
        sure = known is not None and known.certain and known.checksum == item.checksum.lower()
        digest = f"sha256:{known.sha256}" if known else ""
        if fits and not sure:
            fits = all(_has(place, wanted) for wanted in {digest, item.checksum} - {""})
            if fits:
                digest = known.sha256 if known else files.sha256_of(place)
                journal.note(Finished(name, size, digest, item.checksum.lower()))
        if fits:
            place.replace(item.path)
            return True
    item.path.unlink(missing_ok=True)
    return False


def _check_budget(
    cache: Path, wanted: Sequence[Download], policy: settings.DownloadSettings
) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        DataError: It cannot.
    """
    needed = sum(policy.typical_file if item.size is None else item.size for item in wanted)
    free = shutil.disk_usage(cache).free
    if needed + policy.reserve > free:  # only then it matters what a run before has left
        parts = (partial_of(item.path) for item in wanted)
        needed -= sum(part.stat().st_size for part in parts if part.is_file())
    if needed + policy.reserve > free:
        guessed = sum(item.size is None for item in wanted)
        raise DataError(
            f"{len(wanted)} files of about {size_text(needed)} do not fit into {cache}: "
            f"{size_text(free)} are free, of which download.reserve = "
            f"{size_text(policy.reserve)} stay so"
            + (f" ({guessed} sizes are download.typical_file)." if guessed else "."),
            f"make room, or take fewer images; then {_GO_ON}",
        )


@contextlib.contextmanager
def _told_of_the_disk(cache: Path) -> Iterator[None]:
    """Turn errors of the disk into what a user can fix."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        problem = "the disk is full" if full else error.strerror or str(error)
        remedy = "make room" if full else "fix the disk or its permissions"
        raise DataError(
            f"{error.filename or cache}: {problem}. What has arrived is kept.",
            f"{remedy}, then {_GO_ON}",
        ) from None


def download(
    downloads: Sequence[Download],
    policy: settings.DownloadSettings,
    progress: Progress = console.progress,
    *,
    cache: Path | None = None,
) -> Report:
    """Fetch files into a cache; what lies there complete is not fetched again.

    Hosts are asked in turn, each by at most `connections_per_host` connections. What may pass by
    itself is tried again: 429, 5xx, lost and stalled connections. A part goes on where it ended if
    the server tells that the file is still the same. Only one process can work at one cache.

    Args:
        downloads: Files; one path twice is one file.
        policy: The group `download` of the settings.
        progress: Shows how many files have ended.
        cache: The folder that keeps the journal; by default the deepest that holds every path.
            Calls that belong together give the same one.

    Returns:
        What came of each file, in the order of `downloads`. One that failed leaves no file.

    Raises:
        DataError: The files do not fit on the disk, or it became full; what is complete is kept.
        ServerError: Another process is downloading into the cache.
        SettingsError: `proxy` or `mirrors` cannot be used.
    """
    begin = time.monotonic()
    unique = {item.path: item for item in downloads}
    if not unique:
        return Report([], 0.0)
    if cache is None:
        cache = Path(os.path.commonpath([path.parent for path in unique]))
    addresses.check_mirrors(policy.mirrors)
    with (
        _told_of_the_disk(cache),
        open_journal(cache) as journal,
        progress("Fetching", len(unique)) as advance,
    ):
        rows = {path: row for path, item in unique.items() if (row := _settle(journal, item))}
        advance(len(rows))
        if wanted := [item for path, item in unique.items() if path not in rows]:
            _check_budget(cache, wanted, policy)
            text = f"larger than download.largest_file = {policy.largest_file:,} bytes"
            limit = Limit(policy.largest_file, text)
            work = _Fetching(policy, journal, limit, advance, lambda *_: None)
            rows |= {row.path: row for row in asyncio.run(work.run(wanted))}
    return Report([rows[path] for path in unique], time.monotonic() - begin)


def _settle(journal: Journal, item: Download) -> Outcome | None:
    """What came of a file that needs no server; None where it must be asked."""
    try:
        return Outcome(item.path, "skipped") if _stands(journal, item) else None
    except RefusedError as reason:
        return Outcome(item.path, "failed", str(reason))
    except OSError as error:
        if error.errno not in _BAD_PATHS:
            raise
        return Outcome(item.path, "failed", _NO_PATH.format(error.strerror))


def fetch_one(
    item: Download,
    policy: settings.DownloadSettings,
    progress: Progress = console.transfer,
    *,
    remedy: str = "",
) -> Path:
    """Fetch one file without which nothing goes on, such as an archive; it may be very large.

    Args:
        item: The file. Its folder keeps the journal.
        policy: The group `download` of the settings.
        progress: Shows how many bytes have arrived.
        remedy: What the user can do where the file cannot be had.

    Returns:
        Its path.

    Raises:
        DataError: The server refuses, the file is not what it should be, or the disk is full.
        ServerError: The server does not answer, or another process is downloading into the folder.
        SettingsError: `proxy` or `mirrors` cannot be used.
    """
    cache = item.path.parent
    addresses.check_mirrors(policy.mirrors)
    with _told_of_the_disk(cache), open_journal(cache) as journal:
        outcome = _settle(journal, item)
        if outcome is None:
            outcome = _fetch_large(journal, item, policy, progress)
    if outcome.state == "failed":
        problem = f"{addresses.shown(item.address)} cannot be fetched: {outcome.reason}."
        if outcome.passing:
            raise ServerError(problem, remedy or _GO_ON)
        raise DataError(problem, remedy or "download.mirrors can name another place that has it")
    return item.path


def _fetch_large(
    journal: Journal, item: Download, policy: settings.DownloadSettings, progress: Progress
) -> Outcome:
    _check_budget(journal.cache, [item], policy)
    room = shutil.disk_usage(journal.cache).free - policy.reserve
    limit = Limit(room, f"larger than the {size_text(room)} that the disk has room for")
    with FileBar(f"Fetching {item.path.name}", item.size, progress) as bar:
        work = _Fetching(policy, journal, limit, lambda _: None, bar)
        return asyncio.run(work.run([item]))[0]
