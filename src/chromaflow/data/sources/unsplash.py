"""The open Lite set of Unsplash: a table of addresses, of which the photographs are fetched."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import quote

from chromaflow.data.download.fetch import Download
from chromaflow.data.ingest.prefetch import published
from chromaflow.data.sources.address_table import Row, text_rows
from chromaflow.data.sources.archives import members
from chromaflow.data.sources.base import Opener, Record, cache, draw, image_id, read_file
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import DownloadSettings
from chromaflow.settings.sources import UnsplashSource

ADDRESS = "https://unsplash.com/data/lite/latest"
LICENSE = (
    "Unsplash Dataset License, Lite (https://github.com/unsplash/datasets/blob/master/TERMS.md)"
)
LARGEST_TABLE = 2**30
_COLUMNS = ("photo_id", "photo_image_url")
_REMEDY = "chromaflow ingest --set source.name=unsplash --set source.archive=PATH"


class Unsplash:
    """Photographs of the Lite set; see `chromaflow.data.sources.base.Source`.

    The table `photos.tsv000` or `photos.csv000` is read from `source.archive`, which is the table
    or the zip archive that holds it, or the archive is fetched. Photographs have no label.

    Raises:
        DataError: There is no table, or it holds no photograph.
        ServerError: `source.archive` is empty and the server does not give the archive.
    """

    def __init__(
        self, project: Project, settings: UnsplashSource, download: DownloadSettings
    ) -> None:
        path, name, remedy = published(project, settings, download, ADDRESS, _REMEDY, "lite.zip")
        self._width = settings.width
        self._cache = cache(project, "unsplash") / "images"
        rows = [row for row in _photos(path, name, remedy) if len(row) == len(_COLUMNS)]
        distinct = {row["photo_id"]: row["photo_image_url"] for row in reversed(rows)}
        if not distinct:
            raise DataError(f"{name} holds no photograph.", remedy)
        self.skipped = len(rows) - len(distinct)
        self._photos = draw(sorted(distinct.items()), lambda photo: self._url(photo[0]), settings)

    @property
    def total(self) -> int:
        """How many photographs there are."""
        return len(self._photos)

    def _url(self, photo: str) -> str:
        # Another width is another picture.
        return f"unsplash:{quote(photo, safe='')}" + (f"?w={self._width}" if self._width else "")

    def records(self) -> Iterator[Record]:
        """The photographs by their ids."""
        for photo, address in self._photos:
            url = self._url(photo)
            path = self._cache / f"{image_id('unsplash', url)}.jpg"
            yield Record(
                url=url,
                label="",
                license=LICENSE,
                extension=".jpg",
                read=partial(read_file, path),
                download=Download(self._address(address), path),
            )

    def _address(self, address: str) -> str:
        """The address of a photograph, at the width that the settings ask for."""
        if not self._width:
            return address
        mark = "&" if "?" in address else "?"
        return f"{address}{mark}w={self._width}&fit=max&fm=jpg&q=85"


SOURCE: Opener = Unsplash


def _photos(path: Path, name: str, remedy: str) -> Iterator[Row]:
    """The rows of the table, which may lie in a zip archive."""
    if not zipfile.is_zipfile(path):
        return text_rows(lambda: path.open("rb"), name, _COLUMNS, "photo_image_url", remedy)
    tables = [
        member
        for member in members(path, name, remedy)
        if PurePosixPath(member.filename).name.startswith(("photos.tsv", "photos.csv"))
    ]
    if not tables or tables[0].file_size > LARGEST_TABLE:
        raise DataError(f"{name} holds no table photos.tsv000 or photos.csv000.", remedy)
    archive = zipfile.ZipFile(path)
    return text_rows(
        lambda: cast(BinaryIO, archive.open(tables[0])), name, _COLUMNS, "photo_image_url", remedy
    )
