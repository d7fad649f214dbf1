"""A copy of `data/lab` on another disk or in object storage, read through a bounded cache."""

import errno
import os
import shutil
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from chromaflow import files
from chromaflow.errors import DataError, ServerError, SettingsError, UserError

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "file": "fsspec", "http": "aiohttp", "https": "aiohttp"}
_OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_LOCKS = 64
_TRIES = 3
_PAUSE = 1.0


class _LengthError(Exception):
    """A file that is shorter or longer than it should be."""


@dataclass(frozen=True)
class Mirror:
    """Where shards come from that this disk lacks, and where they are kept meanwhile.

    Several processes may share a cache: each chunk is fetched once, and those that were not used
    for longest make room.

    Args:
        address: Of the copy of `data/lab`: s3://…, gs://…, https://… or file:///….
        cache: Folder of the cache.
        limit: Its largest size, bytes; a chunk that is being fetched comes on top.

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
                f"runtime.mirror = {self.shown!r} is no address of a copy of data/lab.",
                "write it like s3://BUCKET/lab, gs://BUCKET/lab or file:///FOLDER/lab",
            )

    @property
    def shown(self) -> str:
        """The address without user, password and query."""
        parts = urlsplit(self.address)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="", fragment="").geturl()

    def fetch(self, name: str, size: int) -> Path:
        """A file of the copy in the cache, as one used just now.

        Args:
            name: Its path below the address, such as `train/NAME.bin`.
            size: Its length, bytes.

        Raises:
            DataError: The copy holds no such file, or one of another length.
            ServerError: It does not answer.
            UserError: The disk of the cache is full.
        """
        path = self.cache / name
        if not _touch(path, size):
            self.cache.mkdir(parents=True, exist_ok=True)
            with FileLock(self.cache / f".lock-{zlib.crc32(name.encode()) % _LOCKS}"):
                # Another process may have fetched it meanwhile.
                if not _touch(path, size):
                    self._download(name, path, size)
                    self._make_room(path)
        return path

    def _download(self, name: str, path: Path, size: int) -> None:
        for attempt in range(_TRIES):
            try:
                self._copy(name, path, size)
                return
            except _LengthError:
                raise DataError(
                    f"{self.shown}/{name} has another length than the index says.",
                    "copy data/lab there as it is here",
                ) from None
            except FileNotFoundError:
                raise DataError(
                    f"{self.shown} holds no {name}.", "copy data/lab there as it is here"
                ) from None
            except ImportError:
                package = _PACKAGES[urlsplit(self.address).scheme]
                raise DataError(
                    f"{self.shown} cannot be read without {package}.", f"pip install {package}"
                ) from None
            # Each kind of storage has errors of its own.
            except Exception as error:
                if isinstance(error, OSError) and error.errno in _OWN_DISK:
                    raise UserError(
                        f"{self.cache} cannot be written: {error.strerror}.",
                        "make room, or lower runtime.mirror_cache",
                    ) from None
                if attempt == _TRIES - 1:
                    raise ServerError(
                        f"{self.shown} does not give {name}: {type(error).__name__}.",
                        "try again when it answers; what is in the cache is kept",
                    ) from None
                time.sleep(_PAUSE * 2**attempt)

    def _copy(self, name: str, path: Path, size: int) -> None:
        # Importing it costs a tenth of a second, and s3fs or gcsfs a whole one.
        import fsspec  # noqa: PLC0415

        with (
            fsspec.open(f"{self.address.rstrip('/')}/{name}", "rb") as source,
            files.atomic_file(path) as file,
        ):
            shutil.copyfileobj(source, file, 2**20)
            if file.tell() != size:
                raise _LengthError

    def _make_room(self, newest: Path) -> None:
        """Delete what was not used for longest; whoever has it open reads on."""
        kept = []
        for path in self.cache.glob("*/*.bin"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            kept.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total > self.limit and path != newest:
                path.unlink(missing_ok=True)
                total -= size


def _touch(path: Path, size: int) -> bool:
    """Whether a whole file is there; it counts as used just now."""
    try:
        if path.stat().st_size != size:
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
