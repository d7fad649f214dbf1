"""The urban and natural scene categories of MIT's CVCL, read from their published zip archive.

The archive holds `<category>_<name>.jpg` in one folder. It is read in place, nothing is unpacked,
and it is not trusted: names that climb, links and members that swell are refused.
"""

import difflib
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import quote

from chromaflow.errors import DataError
from chromaflow.project import Project
from chromaflow.settings import Settings
from chromaflow.sources.base import Record, UnreadableError, resolve

LICENSE = (
    "published for research by Oliva and Torralba (MIT CVCL, 2001); the archive states no license"
)
LARGEST_MEMBER = 64 * 2**20
LARGEST_RATIO = 100
_MEND = "chromaflow ingest --set source.name=cvcl --set source.archive=PATH"


def _fault(member: zipfile.ZipInfo) -> str:
    """What makes a member of an archive dangerous; empty where nothing does."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename:
        return "leads out of the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.file_size > LARGEST_MEMBER:
        return f"is larger than {LARGEST_MEMBER // 2**20} MiB"
    if member.file_size > LARGEST_RATIO * max(member.compress_size, 1):
        return f"unpacks to more than {LARGEST_RATIO} times its size"
    return ""


def _members(archive: zipfile.ZipFile, name: str, size: int) -> list[zipfile.ZipInfo]:
    """Files of an archive by their names.

    Raises:
        DataError: One of them is dangerous, or they overlap.
    """
    members = sorted((m for m in archive.infolist() if not m.is_dir()), key=lambda m: m.filename)
    for member in members:
        if fault := _fault(member):
            raise DataError(f"{name} is refused: {member.filename!r} {fault}.", _MEND)
    if sum(member.compress_size for member in members) > size:
        raise DataError(f"{name} is refused: its members overlap.", _MEND)
    return members


class Cvcl:
    """Photographs of the archive; see `chromaflow.sources.base.Source`.

    The label is the category. Files that are not named `<category>_<name>.jpg` are passed over; a
    member that does not unpack becomes an image that does not decode.

    Raises:
        DataError: `source.archive` is missing, no zip archive, hostile, or without an image;
            `source.categories` names one that the archive does not hold.
    """

    def __init__(self, project: Project, settings: Settings) -> None:
        if not settings.source.archive:
            raise DataError("source.name = cvcl, but source.archive names no archive.", _MEND)
        self._name = f"source.archive = {settings.source.archive}"
        self._path = resolve(project, settings.source.archive)
        try:
            size = self._path.stat().st_size
            with zipfile.ZipFile(self._path) as archive:
                members = _members(archive, self._name, size)
        except OSError as error:
            raise DataError(f"{self._name} cannot be read: {error.strerror}.", _MEND) from None
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise DataError(f"{self._name} is no whole zip archive: {error}.", _MEND) from None
        images = self._photographs(members)
        self.skipped = len(members) - len(images)
        wanted = self._wanted(settings.source.categories, {self._category(m) for m in images})
        self._images = [m for m in images if self._category(m) in wanted]

    def _photographs(self, members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
        images = [member for member in members if self._category(member)]
        names = Counter(PurePosixPath(member.filename).name for member in images)
        # The name is the url, and one url is one image.
        if twice := next((name for name, count in names.items() if count > 1), None):
            raise DataError(f"{self._name} is refused: it holds {twice} twice.", _MEND)
        return images

    @staticmethod
    def _category(member: zipfile.ZipInfo) -> str:
        """Category of a member, empty where it is no photograph of the set."""
        path = PurePosixPath(member.filename)
        category, underscore, _ = path.name.partition("_")
        hidden = any(part.startswith((".", "__")) for part in path.parts)
        return category if underscore and not hidden and path.suffix.lower() == ".jpg" else ""

    def _wanted(self, categories: list[str], known: set[str]) -> set[str]:
        if not known:
            raise DataError(f"{self._name} holds no <category>_<name>.jpg.", _MEND)
        for category in categories:
            if category not in known:
                near = difflib.get_close_matches(category, sorted(known), n=3) or sorted(known)
                raise DataError(
                    f"source.categories: the archive holds no {category}; "
                    f"did you mean {', '.join(near)}?",
                    f"chromaflow ingest --set 'source.categories=[{near[0]}]'",
                )
        return set(categories) or known

    @property
    def total(self) -> int:
        """How many photographs there are."""
        return len(self._images)

    def records(self) -> Iterator[Record]:
        """The photographs by their names."""
        with zipfile.ZipFile(self._path) as archive:
            for member in self._images:
                name = PurePosixPath(member.filename).name
                yield Record(
                    url="cvcl:" + quote(name),
                    label=self._category(member),
                    license=LICENSE,
                    extension=".jpg",
                    read=partial(_unpack, archive, member),
                )


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Bytes of a member, never more than the archive's directory tells."""
    try:
        with archive.open(member) as file:
            return file.read(LARGEST_MEMBER)
    # Encrypted members raise RuntimeError, unknown methods of packing NotImplementedError.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise UnreadableError(f"the member does not unpack: {error}") from None
