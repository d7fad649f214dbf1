"""What every source of images is: a list of records whose bytes are read one by one."""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from chromaflow.project.paths import Project
from chromaflow.settings import DownloadSettings, Settings, SourceSettings

if TYPE_CHECKING:
    from chromaflow.data.download.fetch import Download

Item = TypeVar("Item")

# No photograph is larger; what claims to be is not read into memory.
LARGEST_FILE = 512 * 2**20


class UnreadableError(Exception):
    """One image of a source cannot be read; it goes to quarantine with this reason."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a source, not yet read.

    Args:
        url: Where the image comes from, the same on every machine and unique in its source.
            Records whose urls agree up to the first `#` are parts of one photograph.
        label: A category, or empty.
        license: Under which terms the image may be used, as far as known.
        extension: Of the file, in lower case, with its dot.
        read: Gives the bytes, or raises `UnreadableError`.
        checksum: `sha256:<hex>` or `md5:<hex>` of the bytes, or empty.
        size: Bytes of the file, or None.
        split: `train`, `validation` or `test` where the source assigns it, `historic` for what may
            never train or judge, or empty.
        download: What must be fetched before `read`, or None.
        fixed: Whether `read` itself asks a server. The bytes behind the url of such a record, and
            of one with a download, count as fixed: what the snapshot holds is not fetched again.
    """

    url: str
    label: str
    license: str
    extension: str
    read: Callable[[], bytes]
    checksum: str = ""
    size: int | None = None
    split: str = ""
    download: "Download | None" = None
    fixed: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether its bytes come from a server."""
        return self.fixed or self.download is not None


class Source(Protocol):
    """A place that images come from; opening it raises DataError where it cannot be used."""

    @property
    def total(self) -> int:
        """How many records there are."""

    @property
    def skipped(self) -> int:
        """How many files or rows were skipped because they are not images of this source."""

    def records(self) -> Iterator[Record]:
        """The records, in an order that is the same on every machine."""


Opener = Callable[[Project, Any, DownloadSettings], Source]
"""What a source's module offers as `SOURCE`; `open_source` finds it by the module's name.

It takes the checkout, the settings of just this source (its kind in `chromaflow.settings.sources`)
and those of downloads.
"""


def open_source(name: str, project: Project, settings: Settings) -> Source:
    """Open the source that `chromaflow.sources.<name>` offers; only its libraries are loaded.

    Args:
        name: That of `settings.source`, or `historic`.
        project: The checkout.
        settings: `source` and `download` are used.

    Raises:
        DataError: It cannot be used.
        ServerError: Its server does not answer.
    """
    opener: Opener = import_module(f"{__package__}.{name}").SOURCE
    return opener(project, settings.source, settings.download)


def image_id(source: str, url: str) -> str:
    """The id of an image, 16 hexadecimal digits: it says where the image is, not what it holds.

    The first 64 bits of the SHA-256 of the source's name, a line feed and the url. The same image
    keeps its id over every ingest and on every machine. Among a million images the chance that any
    two share an id is below one in ten million; the validation would find it.
    """
    return hashlib.sha256(f"{source}\n{url}".encode()).hexdigest()[:16]


def cache(project: Project, source: str) -> Path:
    """The folder for what a source fetches.

    Images lie in its folder `images` until they stand in a shard; archives and tables lie beside it
    and stay.
    """
    return project.state / "downloads" / source


def hash_rank(salt: str, url: str) -> int:
    """A rank by which images are drawn, 64 bits: spread evenly, decided by salt and url alone."""
    return int.from_bytes(hashlib.sha256(f"{salt}\n{url}".encode()).digest()[:8], "big")


def draw(items: Iterable[Item], url: Callable[[Item], str], settings: SourceSettings) -> list[Item]:
    """The `source.images` items of the lowest ranks, in their own order; 0 gives all.

    A larger number keeps what a smaller one drew. Only what is drawn is held in memory.
    """
    if not settings.images:
        return list(items)
    drawn = heapq.nsmallest(
        settings.images, enumerate(items), key=lambda pair: hash_rank(settings.salt, url(pair[1]))
    )
    return [item for _, item in sorted(drawn, key=lambda pair: pair[0])]


def read_file(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        UnreadableError: It is gone, may not be read, or is too large for a photograph.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UnreadableError(f"the file is larger than {LARGEST_FILE // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"the file cannot be read: {error.strerror}") from None
