"""ImageNet (ILSVRC 2012): on disk as folders or as its tar archives, or from the hub with a token.

Categories are chosen by WordNet ids or words; a word such as `building` takes all that is below it.
"""

import csv
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, cast
from urllib.parse import quote

from chromaflow.data.sources import wordnet
from chromaflow.data.sources.archives import LARGEST_MEMBER, leads_out
from chromaflow.data.sources.base import Opener, Record, Source, UnreadableError, draw, read_file
from chromaflow.data.sources.huggingface import HuggingFace
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import DownloadSettings
from chromaflow.settings.sources import ImageNetSource

LICENSE = "ImageNet terms of access: non-commercial research and education"
REPOSITORY = "ILSVRC/imagenet-1k"
_ID = re.compile(r"n\d{8}")
_REMEDY = "chromaflow ingest --set source.name=imagenet --set source.archive=PATH"
_WAYS = (
    f"one of three: accept the terms at https://huggingface.co/datasets/{REPOSITORY}, then "
    "export HF_TOKEN=YOUR_TOKEN; or --set source.archive=PATH, where you have ImageNet on disk; or "
    "--preset imagenet-mini, an open part of it"
)


def open_imagenet(project: Project, settings: ImageNetSource, download: DownloadSettings) -> Source:
    """The source for what the settings name: a folder, a tar archive, or the hub.

    Raises:
        DataError: `source.archive` is neither, or holds no image; `source.categories` names none
            that is known; there is no token for the hub.
        ServerError: The hub does not answer.
    """
    if not settings.archive:
        return ImageNetHub(project, settings, download)
    path = project.locate(settings.archive)
    if path.is_dir():
        return ImageNetFolder(path, settings)
    if path.is_file():
        return ImageNetTar(path, settings)
    raise DataError(f"source.archive = {settings.archive} does not exist.", _REMEDY)


SOURCE: Opener = open_imagenet


class ImageNetHub(HuggingFace):
    """ImageNet on the hub, which gives it to those who accepted its terms.

    Labels are WordNet ids. Raises as `open_imagenet`.
    """

    remedy = _WAYS

    def __init__(
        self, _project: Project, source: ImageNetSource, _download: DownloadSettings
    ) -> None:
        from huggingface_hub import get_token  # noqa: PLC0415  # slow to load

        if not get_token():
            raise DataError(
                "ImageNet is given only to those who accepted its terms, and there is no token: "
                "HF_TOKEN is not set, and hf auth login has stored none.",
                _WAYS,
            )
        self._source = source
        self._wanted = wordnet.choose(source.categories)
        self._open(source.repository or REPOSITORY, source.revision)
        self._license = LICENSE

    def _choose(self) -> set[int] | None:
        if len(self._wanted) == len(wordnet.categories()):
            return None
        return {n for n, wnid in enumerate(wordnet.categories()) if wnid in self._wanted}

    def _name(self, label: int | str) -> str:
        known = wordnet.categories()
        return known[label] if isinstance(label, int) and 0 <= label < len(known) else ""


class Place(NamedTuple):
    """Where an image lies: its url, category, and file, or offset and bytes in the archive."""

    url: str
    label: str
    file: str
    offset: int = 0
    size: int = 0
    fault: str = ""


class _OnDisk:
    """What the folder and the archive share."""

    skipped = 0
    _places: list[Place]

    def _take(self, places: Iterable[Place], name: str, settings: ImageNetSource) -> None:
        self._places = draw(places, lambda place: place.url, settings)
        if not self._places:
            raise DataError(
                f"{name} holds no image of ImageNet that matches source.categories.", _REMEDY
            )

    @property
    def total(self) -> int:
        """How many images there are."""
        return len(self._places)


class ImageNetFolder(_OnDisk):
    """The published folders; see `chromaflow.data.sources.base.Source`.

    `<root>/train/<wnid>/*.JPEG`, also below `ILSVRC/Data/CLS-LOC`. The validation images may lie in
    folders by category, or all in `val` beside `LOC_val_solution.csv`, which gives their
    categories.

    Args:
        root: The folder.
        settings: Of the source.
    """

    def __init__(self, root: Path, settings: ImageNetSource) -> None:
        self._root = root
        self._name = f"source.archive = {settings.archive}"
        self._wanted = wordnet.choose(settings.categories)
        subset = settings.subset or "train"
        subset = "val" if subset == "validation" else subset
        places = [root / part / subset for part in ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")]
        self._folder = next((place for place in places if place.is_dir()), None)
        if self._folder is None:
            raise DataError(f"{self._name} holds no folder {subset}.", _REMEDY)
        self._subset = subset
        try:
            self._take(self._walk(self._folder), self._name, settings)
        except OSError as error:
            raise DataError(f"{self._name} cannot be read: {error.strerror}.", _REMEDY) from None

    def _walk(self, folder: Path) -> Iterator[Place]:
        solution = self._solution()
        for path in sorted(folder.iterdir()):
            if path.is_dir() and path.name in self._wanted and not path.is_symlink():
                for file in sorted(path.iterdir()):
                    yield from self._place(folder, file, path.name)
            elif path.is_file():
                label = solution.get(path.stem, "")
                if label in self._wanted or (not label and not solution):
                    yield from self._place(folder, path, label)

    def _place(self, folder: Path, file: Path, label: str) -> Iterator[Place]:
        if file.suffix.lower() in {".jpeg", ".jpg"} and not file.name.startswith("."):
            name = f"{self._subset}/{file.relative_to(folder).as_posix()}"
            fault = "the file is a link" if file.is_symlink() else ""
            yield Place("imagenet:" + quote(name), label, str(file), fault=fault)
        else:
            self.skipped += 1

    def _solution(self) -> dict[str, str]:
        """The categories of the validation images, where they do not lie in folders."""
        for folder in (self._root, self._root / "ILSVRC"):
            path = folder / "LOC_val_solution.csv"
            if self._subset == "val" and path.is_file():
                with path.open(encoding="utf-8", errors="replace", newline="") as file:
                    rows = csv.reader(file)
                    return {row[0]: row[1].split(" ")[0] for row in rows if len(row) > 1}
        return {}

    def records(self) -> Iterator[Record]:
        """The images, category after category."""
        for place in self._places:
            read = partial(_refuse, place.fault) if place.fault else None
            yield _record(place, read or partial(read_file, Path(place.file)))


class ImageNetTar(_OnDisk):
    """A tar archive; see `chromaflow.data.sources.base.Source`.

    `ILSVRC2012_img_train.tar`, which holds a tar archive for each category, one of those, or
    `ILSVRC2012_img_val.tar`, which names no categories. It is read where it lies and never
    unpacked: first the headers, then the images that are taken.

    Args:
        path: The archive.
        settings: Of the source.
    """

    def __init__(self, path: Path, settings: ImageNetSource) -> None:
        self._path = path
        self._wanted = wordnet.choose(settings.categories)
        name = f"source.archive = {settings.archive}"
        try:
            with path.open("rb") as file:
                self._take(self._walk(file), name, settings)
        except OSError as error:
            raise DataError(f"{name} cannot be read: {error.strerror}.", _REMEDY) from None
        except tarfile.TarError as error:
            raise DataError(f"{name} is not a complete tar archive: {error}.", _REMEDY) from None

    def _walk(self, file: BinaryIO) -> Iterator[Place]:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                # What tarfile remembers of a million members would fill gigabytes.
                archive.members = []  # type: ignore[attr-defined]
                inner = PurePosixPath(member.name)
                if inner.suffix == ".tar" and member.isfile() and _ID.fullmatch(inner.stem):
                    if inner.stem in self._wanted:
                        yield from self._walk_category(file, member, inner.stem)
                else:
                    yield from self._place(member, 0, _label_of(inner.name))

    def _walk_category(self, file: BinaryIO, outer: tarfile.TarInfo, label: str) -> Iterator[Place]:
        window = cast(BinaryIO, _Window(file, outer.offset_data, outer.size))
        try:
            with tarfile.open(fileobj=window, mode="r:") as archive:
                for member in archive:
                    archive.members = []  # type: ignore[attr-defined]
                    yield from self._place(member, outer.offset_data, label)
        except tarfile.TarError as error:
            yield Place(f"imagenet:{outer.name}", label, outer.name, fault=f"it is broken: {error}")

    def _place(self, member: tarfile.TarInfo, start: int, label: str) -> Iterator[Place]:
        name = PurePosixPath(member.name).name
        if not name.lower().endswith((".jpeg", ".jpg")) or (label and label not in self._wanted):
            self.skipped += not member.isdir()
            return
        subset = f"train/{label}" if label else "val"
        url = "imagenet:" + quote(f"{subset}/{name}")
        at = start + member.offset_data
        yield Place(url, label, name, at, member.size, _fault(member))

    def records(self) -> Iterator[Record]:
        """The images in the order of the archive."""
        with ExitStack() as stack:
            file = stack.enter_context(self._path.open("rb"))
            for place in self._places:
                yield _record(place, partial(_read_member, file, place))


class _Window:
    """A part of a file as a file of its own, for an archive inside an archive."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes from here."""
        left = max(0, self._size - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to an offset."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """The offset."""
        return self._at


def _label_of(name: str) -> str:
    """The category in a file's name: training images are named `<wnid>_<number>.JPEG`."""
    wnid, underscore, _ = name.partition("_")
    return wnid if underscore and _ID.fullmatch(wnid) else ""


def _fault(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "the member is a link"
    if not member.isfile() or member.issparse():
        return "the member is not a regular file"
    if leads_out(member.name):
        return "the member points outside the archive"
    if member.size > LARGEST_MEMBER:
        return f"the member is larger than {LARGEST_MEMBER // 2**20} MiB"
    return ""


def _refuse(fault: str) -> bytes:
    raise UnreadableError(fault)


def _read_member(file: BinaryIO, place: Place) -> bytes:
    if place.fault:
        raise UnreadableError(place.fault)
    file.seek(place.offset)
    data = file.read(place.size)
    if len(data) < place.size:
        raise UnreadableError("the archive ends before the image does")
    return data


def _record(place: Place, read: "partial[bytes]") -> Record:
    return Record(place.url, place.label, LICENSE, ".jpg", read)
