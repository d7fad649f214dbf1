"""One file from an object store or a folder (s3://, gs://, file://), through fsspec."""

import asyncio
import errno
import threading
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from chromaflow.errors import DataError
from chromaflow.sources.journal import Finished, Journal
from chromaflow.sources.outcomes import PassingError, RefusedError, State
from chromaflow.sources.partial import Limit, Partial
from chromaflow.sources.schedule import Job

_BLOCK = 2**20


def _copy(
    job: Job,
    partial: Partial,
    on_bytes: Callable[[int], object],
    stop: threading.Event,
) -> None:
    import fsspec  # noqa: PLC0415  (slow, and rarely needed)

    parts = urlsplit(job.address)
    try:
        store = fsspec.filesystem(parts.scheme)
    except ImportError:
        raise DataError(
            f"{parts.scheme}:// addresses need a package that is not installed.",
            f"pip install {'gcsfs' if parts.scheme == 'gs' else 's3fs'}",
        ) from None
    partial.empty()
    # The path is taken as it stands: it is no pattern, and chains of protocols are not read.
    place = unquote(parts.path) if parts.scheme == "file" else job.address.partition("://")[2]
    with store.open(place, "rb") as file:
        while not stop.is_set() and (data := file.read(_BLOCK)):
            partial.write(data)
            on_bytes(len(data))


async def fetch(
    job: Job, journal: Journal, limit: Limit, on_bytes: Callable[[int], object]
) -> tuple[State, int]:
    """Fetch one file in a thread; give its state and the bytes that came.

    Raises:
        RefusedError: It cannot be had.
        PassingError: It did not arrive, and may arrive the next time.
        DataError: The package for this kind of store is missing.
    """
    stop = threading.Event()
    with Partial(job.path, job.checksum, job.size, limit) as partial:
        copying = asyncio.ensure_future(asyncio.to_thread(_copy, job, partial, on_bytes, stop))
        try:
            await asyncio.shield(copying)
            partial.check(resumed=False)
        except asyncio.CancelledError:
            stop.set()  # the thread must let go of the file before it is closed
            await asyncio.wait([copying])
            raise
        except (FileNotFoundError, IsADirectoryError):
            partial.remove()
            raise RefusedError("the store holds no such file") from None
        except PermissionError:
            partial.remove()
            raise RefusedError("the store gives no permission") from None
        except RefusedError:
            partial.remove()
            raise
        except (DataError, PassingError):
            raise
        except Exception as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            # Each store raises its own library's errors.
            raise PassingError(f"the store failed: {type(error).__name__}") from None
        journal.note(Finished(job.name, partial.size, partial.sha256, job.checksum))
        partial.take_place()
        return "fetched", partial.size
