"""What every source of images is: a list of records whose bytes are read one by one."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chromaflow.project import Project


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
    """

    url: str
    label: str
    license: str
    extension: str
    read: Callable[[], bytes]


class Source(Protocol):
    """A place that images come from; opening it raises DataError where it cannot be used."""

    @property
    def total(self) -> int:
        """How many records there are."""

    @property
    def skipped(self) -> int:
        """How many files were passed over because they are no images of this source."""

    def records(self) -> Iterator[Record]:
        """The records, in an order that is the same on every machine."""


def image_id(source: str, url: str) -> str:
    """The id of an image, 16 hexadecimal digits: it says where the image is, not what it holds.

    The first 64 bits of the SHA-256 of the source's name, a line feed and the url. The same image
    keeps its id over every ingest and on every machine. Among a million images the chance that any
    two share an id is below one in ten million; the validation would find it.
    """
    return hashlib.sha256(f"{source}\n{url}".encode()).hexdigest()[:16]


def resolve(project: Project, text: str) -> Path:
    """The path that a setting names: absolute, below `~`, or relative to the checkout."""
    return project.root / os.path.expanduser(text)  # noqa: PTH111  # pathlib's raises for ~nobody
