"""The urban and natural scene categories of MIT's CVCL, read from their published zip archive.

The archive holds `<category>_<name>.jpg` in one folder. It is read where it lies, or fetched once
from its published address. Nothing is unpacked, and it is not trusted: names that climb, links and
members that swell are refused.
"""

import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import quote

from chromaflow.data.ingest.prefetch import published
from chromaflow.data.sources.archives import fault, members, unpack
from chromaflow.data.sources.base import Opener, Record, draw
from chromaflow.data.sources.categories import choose
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import DownloadSettings
from chromaflow.settings.sources import CvclSource

ADDRESS = (
    "http://people.csail.mit.edu/torralba/code/spatialenvelope/"
    "spatial_envelope_256x256_static_8outdoorcategories.zip"
)
LICENSE = (
    "published for research by Oliva and Torralba (MIT CVCL, 2001); the archive states no license"
)
_REMEDY = "chromaflow ingest --set source.name=cvcl --set source.archive=PATH"


class Cvcl:
    """Photographs of the archive; see `chromaflow.data.sources.base.Source`.

    The label is the category. Files that are not named `<category>_<name>.jpg` are passed over; a
    member that does not unpack becomes an image that does not decode.

    Raises:
        DataError: The archive is missing, no zip archive, hostile, or without an image;
            `source.categories` names one that it does not hold.
        ServerError: `source.archive` is empty and the server does not give the archive.
    """

    def __init__(self, project: Project, settings: CvclSource, download: DownloadSettings) -> None:
        self._path, self._name, remedy = published(project, settings, download, ADDRESS, _REMEDY)
        found = members(self._path, self._name, remedy)
        for member in found:
            if reason := fault(member):
                raise DataError(f"{self._name} is refused: {member.filename!r} {reason}.", _REMEDY)
        images = self._photographs(found)
        self.skipped = len(found) - len(images)
        known = {self._category(member) for member in images}
        if not known:
            raise DataError(f"{self._name} holds no <category>_<name>.jpg.", _REMEDY)
        wanted = choose(settings.categories, known, "the archive")
        chosen = [member for member in images if self._category(member) in wanted]
        self._images = draw(chosen, self._url, settings)

    def _photographs(self, found: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
        images = [member for member in found if self._category(member)]
        names = Counter(PurePosixPath(member.filename).name for member in images)
        # The name is the url, and one url is one image.
        if twice := next((name for name, count in names.items() if count > 1), None):
            raise DataError(f"{self._name} is refused: it holds {twice} twice.", _REMEDY)
        return images

    @staticmethod
    def _category(member: zipfile.ZipInfo) -> str:
        """Category of a member, empty where it is not a photograph of the set."""
        path = PurePosixPath(member.filename)
        category, underscore, _ = path.name.partition("_")
        hidden = any(part.startswith((".", "__")) for part in path.parts)
        return category if underscore and not hidden and path.suffix.lower() == ".jpg" else ""

    @staticmethod
    def _url(member: zipfile.ZipInfo) -> str:
        return "cvcl:" + quote(PurePosixPath(member.filename).name)

    @property
    def total(self) -> int:
        """How many photographs there are."""
        return len(self._images)

    def records(self) -> Iterator[Record]:
        """The photographs by their names."""
        with zipfile.ZipFile(self._path) as archive:
            for member in self._images:
                yield Record(
                    url=self._url(member),
                    label=self._category(member),
                    license=LICENSE,
                    extension=".jpg",
                    read=partial(unpack, archive, member),
                )


SOURCE: Opener = Cvcl
