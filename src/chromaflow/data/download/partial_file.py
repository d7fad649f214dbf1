"""A partly downloaded file: its bytes next to its target, their digests, and the checks."""

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple, Self

from chromaflow.data.download.journal import partial_of
from chromaflow.data.download.report import PassingError, RefusedError

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
_HEAD = 512
_IMAGE_STARTS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
    b"II+\0", b"MM\0+",
)  # fmt: skip
_OTHER_STARTS = (
    (b"<?xml", "XML"),
    (b"<svg", "SVG"),
    (b"<", "markup"),
    (b"{", "JSON"),
    (b"[", "JSON"),
    (b"pk\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip"),
    (b"%pdf", "PDF"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<!--")


def _is_image(head: bytes) -> bool:
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    # AVIF and HEIC are boxes of the ISO media format.
    box = head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1")
    return webp or box or head.startswith(_IMAGE_STARTS)


def fault_of(head: bytes, name: str) -> str:
    """Why the first bytes of a file cannot be what its name promises; empty where they can.

    Args:
        head: The first bytes, up to 512.
        name: The file's name. An image's extension asks for any kind of image; any other, except
            HTML's own, only for something else than a page of HTML.
    """
    suffix = Path(name).suffix.lower()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    is_page = text.startswith(_HTML)
    if suffix not in IMAGES:
        return f"a page of HTML came instead of {suffix}" if is_page and suffix != ".html" else ""
    if _is_image(head):
        return ""
    if not head:
        return "nothing came instead of an image"
    kind = next((kind for start, kind in _OTHER_STARTS if text.startswith(start)), "something else")
    return f"{'a page of HTML' if is_page else kind} came instead of an image"


class Limit(NamedTuple):
    """How large a file may be.

    Args:
        size: Bytes.
        reason: The error message for a larger one.
    """

    size: int
    reason: str


class Partial:
    """The part of a file that has arrived; a context that closes it and leaves it there.

    Args:
        target: Where the file will lie.
        checksum: `sha256:<hex>`, `md5:<hex>` or empty.
        size: Bytes as the source says, or None.
        limit: How large it may be.
    """

    def __init__(self, target: Path, checksum: str, size: int | None, limit: Limit) -> None:
        self._target = target
        self._path = partial_of(target)
        self._algorithm, _, self._wanted = checksum.lower().partition(":")
        self._announced = size
        self._limit = limit
        self._most = limit.size if size is None else min(size, limit.size)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file = os.open(self._path, flags, 0o666)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, flags, 0o666)
        self.size = os.fstat(self._file).st_size
        self._begin()

    def _begin(self) -> None:
        self._hashed = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if self._algorithm == "md5" else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        os.close(self._file)

    def _update(self, data: bytes) -> None:
        self._sha256.update(data)
        if self._md5 is not None:
            self._md5.update(data)
        self._hashed += len(data)

    def empty(self) -> None:
        """Drop every byte."""
        if self.size:
            os.ftruncate(self._file, 0)
        self.size = 0
        self._begin()

    def hash_part(self) -> None:
        """Read what an earlier attempt left, so that the digests resume from there."""
        self._begin()
        while data := os.pread(self._file, 2**20, self._hashed):
            self._update(data)
        self.size = self._hashed

    def expect(self, total: int) -> None:
        """Compare the size of the whole file, as far as it is known, with what is allowed.

        Raises:
            RefusedError: It is too large, or not the one that the source names.
        """
        if total > self._limit.size:
            raise RefusedError(self._limit.reason)
        if self._announced is not None and total != self._announced:
            raise RefusedError(f"{total:,} bytes are offered instead of {self._announced:,}")

    def write(self, data: bytes) -> None:
        """Append bytes; they are in the file when this returns, whatever kills the process.

        Raises:
            RefusedError: The file becomes too large.
        """
        if self.size + len(data) > self._most:
            self.expect(self.size + len(data))
        written = os.pwrite(self._file, data, self.size)
        self.size += written
        self._update(data[:written] if written < len(data) else data)
        if written < len(data):
            self.write(data[written:])

    @property
    def head(self) -> bytes:
        """The first bytes."""
        return os.pread(self._file, _HEAD, 0)

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of what has arrived."""
        return self._sha256.hexdigest()

    def check(self, resumed: bool) -> None:
        """Compare what came with what was promised.

        Raises:
            RefusedError: It is something else.
            PassingError: So it is, but it came in parts; the next attempt starts over.
        """
        fault = fault_of(self.head, self._target.name)
        if not fault and self._announced is not None and self.size != self._announced:
            fault = f"{self.size:,} bytes came instead of {self._announced:,}"
        if not fault and self._wanted:
            found = self._md5.hexdigest() if self._md5 else self.sha256
            if found != self._wanted:
                fault = f"its checksum ({self._algorithm}) is not the expected one"
        if fault and resumed:
            self.empty()
            raise PassingError(f"{fault}, after resuming")
        if fault:
            raise RefusedError(fault)

    def take_place(self) -> None:
        """Give the complete file its name."""
        self._path.replace(self._target)

    def remove(self) -> None:
        """Remove the part."""
        self._path.unlink(missing_ok=True)
