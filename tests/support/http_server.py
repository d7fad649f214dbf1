"""A server on loopback that can misbehave in every way that a downloader must bear."""

import asyncio
import re
import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class File:
    """One file of the server, and what goes wrong with it.

    Args:
        body: Its bytes.
        etag: Its validator; empty sends none.
        headers: Further headers.
        status: What it answers, instead of 200.
        failures: So many times it answers 500 first.
        busy: So many times it answers 429 first, with this `retry_after`.
        cut: The connection ends after so many bytes of a body, `cuts` times.
        stall: The server sends so many bytes and then waits for ever, `stalls` times.
        drip: Seconds between single bytes.
        head_drip: Seconds between single bytes of the head.
        length: A Content-Length that is not true.
        ranges: Whether it knows ranges.
        replacement: Body and validator that take the file's place after the first answer.
        shift: How far a range begins from where it should.
        location: Where it redirects.
        chunked: Whether the size is not told.
    """

    body: bytes = b""
    etag: str = '"1"'
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    failures: int = 0
    busy: int = 0
    retry_after: str = "0"
    cut: int = 0
    cuts: int = 0
    stall: int = 0
    stalls: int = 0
    drip: float = 0.0
    head_drip: float = 0.0
    length: int | None = None
    ranges: bool = True
    replacement: tuple[bytes, str] | None = None
    shift: int = 0
    location: str = ""
    chunked: bool = False


class Server:
    """The server, in a thread of its own; a context.

    `counts` tells how often each file was asked for, `whole` how often its last byte was sent,
    `requests` holds each request with its headers, `most` is the largest number of open requests.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.files: dict[str, File] = {}
        self.counts: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.pause = 0.0
        self.most = self._open = 0
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        start = asyncio.start_server(self._serve, self._host, 0)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def url(self, path: str) -> str:
        return f"http://{self._host}:{self.port}{path}"

    def put(self, path: str, body: bytes = b"", **faults: object) -> str:
        """Offer a file; give its address."""
        self.files[path] = File(body, **faults)  # type: ignore[arg-type]
        return self.url(path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        target = re.sub(r"^http://[^/]*", "", head[0].split()[1])
        headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in head[1:] if x)}
        path = target.partition("?")[0]
        self.counts[path] += 1
        self.requests.append((head[0].split()[1], headers))
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            await asyncio.sleep(self.pause)
            file = self.files.get(path) or File(status=404)
            return await self._send(path, file, headers, writer)
        finally:
            self._open -= 1

    async def _send(
        self, path: str, file: File, asked: dict[str, str], writer: asyncio.StreamWriter
    ) -> bool:
        status, body, more = _select(file, asked)
        more |= file.headers
        length = len(body) if file.length is None else file.length
        if not file.chunked:
            more["Content-Length"] = str(length)
        lines = [f"HTTP/1.1 {status} -", *(f"{k}: {v}" for k, v in more.items())]
        if file.chunked:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode()
        for byte in head if file.head_drip else ():
            writer.write(bytes([byte]))
            await asyncio.sleep(file.head_drip)
        writer.write(b"" if file.head_drip else head)
        if file.replacement and status == 200:
            file.body, file.etag = file.replacement
            file.replacement = None
        if file.cuts and status in (200, 206):
            file.cuts -= 1
            writer.write(body[: file.cut])
            await writer.drain()
            return False
        if file.stalls and status in (200, 206):
            file.stalls -= 1
            writer.write(body[: file.stall])
            await asyncio.sleep(3600)
        for byte in body if file.drip else ():
            writer.write(bytes([byte]))
            await asyncio.sleep(file.drip)
        if not file.drip:
            writer.write(body)
        await writer.drain()
        self.whole[path] += status in (200, 206)
        return not file.chunked and length == len(body)


def _select(file: File, asked: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers for a request."""
    if file.failures:
        file.failures -= 1
        return 500, b"", {}
    if file.busy:
        file.busy -= 1
        return 429, b"", {"Retry-After": file.retry_after}
    if file.location:
        return file.status if file.status != 200 else 302, b"", {"Location": file.location}
    more = {"ETag": file.etag} if file.etag else {}
    match = re.fullmatch(r"bytes=(\d+)-", asked.get("range", ""))
    same = asked.get("if-range", file.etag) == file.etag
    if match and file.ranges and same and file.status == 200:
        begin, total = int(match[1]) + file.shift, len(file.body)
        if begin >= total:
            return 416, b"", more | {"Content-Range": f"bytes */{total}"}
        more["Content-Range"] = f"bytes {begin}-{total - 1}/{total}"
        return 206, file.body[begin:], more
    return file.status, file.body, more
