"""A copy of `data/lab` on another disk or in object storage, read through a bounded cache."""

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from chromaflow.errors import DataError, ServerError, SettingsError, UserError

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "file": "fsspec", "http": "aiohttp", "https": "aiohttp"}
_OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_TRIES = 3
_PAUSE = 1.0
# Between two looks for room, while other processes fetch.
_WAIT = 0.05
_BLOCK = 2**20
_PARTIAL = ".partial"


class _OtherBytesError(Exception):
    """What came is not what the index says."""


@dataclass(frozen=True)
class Mirror:
    """Where shards come from that this disk lacks, and where they are kept meanwhile.

    Several processes may share a cache: each chunk is fetched once, and those that were opened
    longest ago make room before it comes.

    Args:
        address: Of the copy of `data/lab`: s3://…, gs://…, https://… or file:///….
        cache: Folder of the cache.
        limit: Its largest size, bytes; what is being fetched is counted as if it were there.

    Raises:
        SettingsError: The address is of another kind.
    """

    address: str
    cache: Path
    limit: int

    def __post_init__(self) -> None:
        """Refuse what cannot be an address."""
        if urlsplit(self.address).scheme not in _PACKAGES or "://" not in self.address:
            raise SettingsError(
                f"runtime.mirror = {self.shown!r} is not the address of a copy of data/lab.",
                "write it like s3://BUCKET/lab, gs://BUCKET/lab or file:///FOLDER/lab",
            )

    @property
    def shown(self) -> str:
        """The address without user, password and query."""
        parts = urlsplit(self.address)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="", fragment="").geturl()

    def fetch(self, name: str, size: int, sha256: str) -> Path:
        """A file of the copy in the cache, as one used just now.

        Args:
            name: Its path below the address, such as `train/NAME.bin`.
            size: Its length, bytes.
            sha256: Of its bytes, hexadecimal.

        Raises:
            DataError: The copy holds no such file, or one of other bytes.
            ServerError: It does not answer.
            SettingsError: The file is larger than the cache.
            UserError: The disk of the cache is full.
        """
        if size > self.limit:
            raise SettingsError(
                f"runtime.mirror_cache is smaller than one shard of {size} bytes.",
                "raise it, or lower preprocess.shard_size",
            )
        if not sha256:
            raise DataError(
                f"the index has no SHA-256 of {name}.",
                "chromaflow preprocess, then copy data/lab again",
            )
        path = self.cache / name
        try:
            while not _touch(path, size):
                with _alone(path.with_suffix(_PARTIAL)) as file:
                    # Another process may have fetched it meanwhile.
                    if file is not None and not _touch(path, size):
                        self._reserve(file, size)
                        self._download(name, file, size, sha256)
                        path.with_suffix(_PARTIAL).replace(path)
        except OSError as error:
            raise UserError(
                f"{self.cache} cannot be written: {error.strerror}.",
                "make room, or lower runtime.mirror_cache",
            ) from None
        return path

    def _reserve(self, file: BinaryIO, size: int) -> None:
        """Make room and take it, before anything is fetched."""
        while True:
            with (self.cache / ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self._make_room(size):
                    file.truncate(size)
                    return
            time.sleep(_WAIT)

    def _make_room(self, size: int) -> bool:
        """Delete what was opened longest ago; False where others fetch as much as there may be."""
        _remove_abandoned(self.cache)
        kept = []
        for path in [*self.cache.glob(f"*/*{_PARTIAL}"), *self.cache.glob("*/*.bin")]:
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                kept.append((status.st_mtime_ns, status.st_size, path))
        total = size + sum(length for _, length, _ in kept)
        for _, length, path in sorted(kept):
            if total > self.limit and path.suffix != _PARTIAL:
                path.unlink(missing_ok=True)
                total -= length
        return total <= self.limit

    def _download(self, name: str, file: BinaryIO, size: int, sha256: str) -> None:
        for attempt in range(_TRIES):
            try:
                self._copy(name, file, size, sha256)
                return
            except ImportError:
                package = _PACKAGES[urlsplit(self.address).scheme]
                raise DataError(
                    f"{self.shown} cannot be read without {package}.", f"pip install {package}"
                ) from None
            # Each kind of storage has errors of its own.
            except Exception as error:
                if isinstance(error, OSError) and error.errno in _OWN_DISK:
                    raise
                reason = _reason(error)
                if attempt == _TRIES - 1 or isinstance(reason, FileNotFoundError):
                    raise self._fault(name, reason) from None
                time.sleep(_PAUSE * 2**attempt)

    def _fault(self, name: str, error: BaseException) -> UserError:
        if isinstance(error, FileNotFoundError):
            return DataError(f"{self.shown} holds no {name}.", "copy data/lab there as it is here")
        if isinstance(error, _OtherBytesError):
            return DataError(
                f"{self.shown}/{name} does not match the index.",
                "copy data/lab there as it is here",
            )
        return ServerError(
            f"{self.shown} does not give {name}: {type(error).__name__}.",
            "try again when it answers; what is in the cache is kept",
        )

    def _copy(self, name: str, file: BinaryIO, size: int, sha256: str) -> None:
        # Importing it costs a tenth of a second, and s3fs or gcsfs a whole one.
        import fsspec  # noqa: PLC0415

        digest, left = hashlib.sha256(), size
        file.seek(0)
        with fsspec.open(f"{self.address.rstrip('/')}/{name}", "rb") as source:
            while block := source.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise _OtherBytesError
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != sha256:
            raise _OtherBytesError
        file.flush()
        os.fsync(file.fileno())


def _reason(error: BaseException) -> BaseException:
    """What lies behind an error: fsspec says of a server that is gone that it has no such file."""
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[BinaryIO | None]:
    """A file open for writing in one process or thread at a time; None once its turn is over.

    It is deleted in the end, unless it was renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not _is_at(file, path):
            yield None
            return
        try:
            yield file
        finally:
            if _is_at(file, path):
                path.unlink()


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file still has its name, and no other file has it now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_abandoned(cache: Path) -> None:
    """Remove what a killed process was about to fetch."""
    for path in cache.glob(f"*/*{_PARTIAL}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                path.unlink()


def _touch(path: Path, size: int) -> bool:
    """Whether a whole file is there; it counts as used just now."""
    try:
        if path.stat().st_size != size:
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
