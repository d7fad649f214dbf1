"""One file from an object store or a folder (s3://, gs://, file://), through fsspec."""

import asyncio
import errno
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from chromaflow.data.download.journal import RESUME_FROM, Finished, Journal, Started, origin_of
from chromaflow.data.download.partial_file import Limit, Partial
from chromaflow.data.download.report import OnBytes, PassingError, RefusedError, State
from chromaflow.data.download.scheduler import Job
from chromaflow.errors import DataError

_BLOCK = 2**20


def _open(address: str) -> tuple[Any, str]:
    """The store of an address, and the path there."""
    import fsspec  # noqa: PLC0415  (slow, and rarely needed)

    parts = urlsplit(address)
    try:
        store = fsspec.filesystem(parts.scheme)
    except ImportError:
        raise DataError(
            f"{parts.scheme}:// addresses need a package that is not installed.",
            f"pip install {'gcsfs' if parts.scheme == 'gs' else 's3fs'}",
        ) from None
    # The path is taken as it stands: it is not a pattern, and chains of protocols are not read.
    place = unquote(parts.path) if parts.scheme == "file" else address.partition("://")[2]
    if parts.scheme == "file" and not Path(place).is_file():
        raise FileNotFoundError  # a pipe or a device could be read for ever
    return store, place


def _copy(
    job: Job, partial: Partial, journal: Journal, on_bytes: OnBytes, stop: threading.Event
) -> int:
    """Copy a file, from where its part ends; give the bytes that were there before."""
    store, place = _open(job.address)
    started = journal.started(job.name)
    with store.open(place, "rb") as file:
        total: int = file.size
        partial.expect(total)
        version = store.ukey(place) if total > RESUME_FROM else ""
        if (
            started
            and started.validator == version
            and started.begins(job.address, job.checksum, partial.size)
        ):
            partial.hash_part()
            file.seek(partial.size)
        else:
            partial.empty()
            if version:
                journal.note(Started(job.name, origin_of(job.address), version, total))
        before = partial.size
        while not stop.is_set() and (data := file.read(_BLOCK)):
            partial.write(data)
            on_bytes(partial.size, total)
    return before


async def fetch(job: Job, journal: Journal, limit: Limit, on_bytes: OnBytes) -> tuple[State, int]:
    """Fetch one file in a thread; give its state and the bytes that came.

    Raises:
        RefusedError: It cannot be had.
        PassingError: It did not arrive, and may arrive the next time.
        DataError: The package for this kind of store is missing.
    """
    stop = threading.Event()
    with Partial(job.path, job.checksum, job.size, limit) as partial:
        copying = asyncio.ensure_future(
            asyncio.to_thread(_copy, job, partial, journal, on_bytes, stop)
        )
        try:
            before = await asyncio.shield(copying)
            partial.check(resumed=before > 0)
        except asyncio.CancelledError:
            stop.set()  # the thread must let go of the file before it is closed
            await asyncio.wait([copying])
            raise
        except DataError:
            partial.remove()
            raise
        except Exception as error:
            failure = _explained(error)
            if isinstance(failure, RefusedError) or not journal.started(job.name):
                partial.remove()
            raise failure from None
        journal.note(Finished(job.name, partial.size, partial.sha256, job.checksum))
        partial.take_place()
        return ("resumed" if before else "fetched"), partial.size - before


def _explained(error: Exception) -> Exception:
    if isinstance(error, (FileNotFoundError, IsADirectoryError)):
        return RefusedError("the store has no such file")
    if isinstance(error, PermissionError):
        return RefusedError("the store denies permission")
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if full or isinstance(error, (RefusedError, PassingError)):
        return error
    # Each store raises its own library's errors.
    return PassingError(f"the store failed: {type(error).__name__}")
