"""A list of addresses: a CSV, TSV or Parquet file with one image in each row."""

from array import array
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import urldefrag, urlsplit

import numpy as np
from numpy.typing import NDArray

from chromaflow.data.download.fetch import Download
from chromaflow.data.sources.address_table import Row, open_table
from chromaflow.data.sources.base import (
    Opener,
    Record,
    cache,
    hash_rank,
    image_id,
    read_file,
)
from chromaflow.data.sources.folder import EXTENSIONS
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.project.splits import SPLITS
from chromaflow.settings import DownloadSettings
from chromaflow.settings.sources import UrlsSource

COLUMNS = ("url", "label", "license", "sha256", "size", "split")
_REMEDY = "chromaflow ingest --set source.name=urls --set source.table=FILE"


def extension_of(address: str) -> str:
    """The image extension that an address ends in; `.jpg` where it ends in none."""
    suffix = PurePosixPath(urlsplit(address).path).suffix.lower()
    return suffix if suffix in EXTENSIONS else ".jpg"


class Urls:
    """Images by their addresses; see `chromaflow.data.sources.base.Source`.

    The table has a column `url` and may have `label`, `license`, `sha256`, `size` (bytes) and
    `split` (train, validation or test). Of rows with one address the first one counts; the others,
    and rows without an address that can be read, are counted as passed over. The table is read
    twice, so that two million rows need a few bytes each.

    Raises:
        DataError: `source.table` is missing, no table, or holds no address.
    """

    def __init__(self, project: Project, settings: UrlsSource, _download: DownloadSettings) -> None:
        if not settings.table:
            raise DataError("source.name = urls, but source.table names no table.", _REMEDY)
        self._settings = settings
        self._cache = cache(project, "urls")
        self._path = project.locate(settings.table)
        self._name = f"source.table = {settings.table}"
        ranks = np.array(array("Q", (_rank(row, self._settings.salt) for row in self._rows())))
        self._chosen = self._choose(ranks)
        self.total = int(np.count_nonzero(self._chosen))
        self.skipped = len(ranks) - len(np.unique(ranks[ranks > 0]))
        if not self.total:
            raise DataError(f"{self._name} holds no address in its column url.", _REMEDY)

    def _rows(self) -> Iterator[Row]:
        return open_table(self._path, self._name, COLUMNS, "url", _REMEDY)

    def _choose(self, ranks: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which rows to take: the first of each address, of those the lowest ranks."""
        distinct, firsts = np.unique(ranks, return_index=True)
        firsts = firsts[distinct > 0]
        chosen = np.zeros(len(ranks), bool)
        chosen[firsts[: self._settings.images or None]] = True
        return chosen

    def records(self) -> Iterator[Record]:
        """The images, in the order of the table."""
        for chosen, row in zip(self._chosen.tolist(), self._rows(), strict=False):
            if chosen:
                yield self._record(row)

    def _record(self, row: Row) -> Record:
        address = urldefrag(row["url"].strip()).url
        extension = extension_of(address)
        path = self._cache / "images" / (image_id("urls", address) + extension)
        digest, size = row.get("sha256", "").strip().lower(), row.get("size", "")
        checksum = f"sha256:{digest}" if digest else ""
        length = int(size) if size.isascii() and size.isdigit() and len(size) < 16 else None
        split = row.get("split", "").strip().lower()
        return Record(
            url=address,
            label=row.get("label", ""),
            license=row.get("license", self._settings.license),
            extension=extension,
            read=partial(read_file, path),
            checksum=checksum,
            size=length,
            split=split if split in SPLITS else "",
            download=Download(address, path, length, checksum),
        )


SOURCE: Opener = Urls


def _rank(row: Row, salt: str) -> int:
    """The rank of a row's address, never 0; 0 where there is no address."""
    address = urldefrag(row.get("url", "").strip()).url
    return max(1, hash_rank(salt, address)) if "://" in address else 0
