"""What a cache holds already, and whether what is wanted fits on its disk."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chromaflow.data.download.journal import Finished, Journal, partial_of
from chromaflow.data.download.report import Outcome, RefusedError, size_text
from chromaflow.errors import DataError
from chromaflow.project import files
from chromaflow.settings import DownloadSettings

GO_ON = "run the command again: it resumes from here"
# A path that cannot be a file is that file's fault; other errors of the disk concern all of them.
BAD_PATHS = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EILSEQ)
NO_PATH = "not a path for a file: {}"
_CHECKSUM = re.compile(r"(?i)sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}")
_LONGEST_NAME = 240  # bytes; most disks allow 255, and a part's name is longer


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


def name_in(cache: Path, path: Path) -> str:
    """The path of a file below its cache.

    Raises:
        RefusedError: It leads out, or to what the cache keeps for itself, or is too long.
    """
    # Text is compared, not paths: there may be millions.
    whole, root = os.path.normpath(path), os.path.join(os.path.normpath(cache), "")  # noqa: PTH118
    name = os.path.basename(whole)  # noqa: PTH119
    if not whole.startswith(root) or name.startswith("."):
        raise RefusedError("its path is outside the cache")
    if len(os.fsencode(name)) > _LONGEST_NAME:
        raise RefusedError(NO_PATH.format("its name is too long"))
    return whole.removeprefix(root)


def _has(path: Path, checksum: str) -> bool:
    """Whether a file has a checksum of the form `<algorithm>:<hex>`."""
    algorithm, _, wanted = checksum.lower().partition(":")
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == wanted


def _is_complete(journal: Journal, item: Download) -> bool:
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


def check_budget(cache: Path, wanted: Sequence[Download], policy: DownloadSettings) -> None:
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
            + (
                f" ({guessed} sizes are unknown, assumed to be download.typical_file)."
                if guessed
                else "."
            ),
            f"make room, or take fewer images; then {GO_ON}",
        )


@contextlib.contextmanager
def explain_disk_errors(cache: Path) -> Iterator[None]:
    """Turn errors of the disk into errors that name the remedy."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        problem = "the disk is full" if full else error.strerror or str(error)
        remedy = "make room" if full else "check the disk and its permissions"
        raise DataError(
            f"{error.filename or cache}: {problem}. What has arrived is kept.",
            f"{remedy}, then {GO_ON}",
        ) from None


def cached_outcome(journal: Journal, item: Download) -> Outcome | None:
    """What came of a file that needs no server; None where it must be asked."""
    try:
        return Outcome(item.path, "skipped") if _is_complete(journal, item) else None
    except RefusedError as reason:
        return Outcome(item.path, "failed", str(reason))
    except OSError as error:
        if error.errno not in BAD_PATHS:
            raise
        return Outcome(item.path, "failed", NO_PATH.format(error.strerror))
