"""COCO 2017: photographs chosen by their annotations, and fetched one by one or read on disk.

The annotations say which photographs there are, under which license each may be used, and what it
shows. So a few thousand photographs cost their own bytes and not those of the 19 GB archive.
"""

import contextlib
import re
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import ijson

from chromaflow.data.download.fetch import Download, fetch_one
from chromaflow.data.ingest.prefetch import fetch_anew
from chromaflow.data.sources.archives import members, unpack
from chromaflow.data.sources.base import (
    Opener,
    Record,
    UnreadableError,
    cache,
    draw,
    image_id,
    read_file,
)
from chromaflow.data.sources.categories import choose
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import DownloadSettings
from chromaflow.settings.sources import CocoSource

ADDRESS = "http://images.cocodataset.org"
ANNOTATIONS = "annotations/annotations_trainval2017.zip"
TEST_ANNOTATIONS = "annotations/image_info_test2017.zip"
LARGEST_ANNOTATIONS = 4 * 2**30
_REMEDY = "chromaflow ingest --set source.name=coco --set source.annotations=PATH"
_REMEDY_ARCHIVE = "chromaflow ingest --set source.name=coco --set source.archive=PATH"


class Photo(NamedTuple):
    """One photograph of the annotations: file name, category and license."""

    file: str
    label: str
    license: str


class Coco:
    """Photographs of COCO; see `chromaflow.data.sources.base.Source`.

    The label is the category with the most annotated objects in the photograph, the one with the
    lowest id where two have as many, and empty where nothing is annotated. The photographs come
    from `source.archive`, which is a zip archive such as `train2017.zip` or a folder that holds
    `train2017/`, or one by one from the server.

    Raises:
        DataError: The annotations or the archive cannot be read, or list no photograph;
            `source.categories` names one that is not known.
        ServerError: The server does not give the annotations.
    """

    def __init__(self, project: Project, source: CocoSource, download: DownloadSettings) -> None:
        self._subset = source.subset or "train2017"
        self._address = (source.address or ADDRESS).rstrip("/")
        self._cache = cache(project, "coco")
        path, remedy = self._annotations(project, source, download)
        photos, self.skipped, known = _read(path, self._subset, source.license, remedy)
        wanted = choose(source.categories, known, "the set") if source.categories else set()
        self._photos = draw(
            sorted(photo for photo in photos if not wanted or photo.label in wanted),
            lambda photo: self._url(photo.file),
            source,
        )
        if not self._photos:
            raise DataError(f"{path} lists no photograph that matches source.categories.", _REMEDY)
        self._archive = project.locate(source.archive) if source.archive else None
        if self._archive is not None and not self._archive.exists():
            raise DataError(f"source.archive = {source.archive} does not exist.", _REMEDY_ARCHIVE)

    def _annotations(
        self, project: Project, source: CocoSource, download: DownloadSettings
    ) -> tuple[Path, str]:
        """Where the annotations are, and the remedy where they are broken."""
        if source.annotations:
            return project.locate(source.annotations), _REMEDY
        if source.archive:
            root = project.locate(source.archive)
            for folder in (root, root.parent):
                for kind in ("instances", "image_info"):
                    path = folder / "annotations" / f"{kind}_{self._subset}.json"
                    if path.is_file():
                        return path, _REMEDY
        part = TEST_ANNOTATIONS if self._subset.startswith("test") else ANNOTATIONS
        path = self._cache / PurePosixPath(part).name
        fetch_one(Download(f"{self._address}/{part}", path), download, remedy=_REMEDY)
        return path, fetch_anew(path)

    @property
    def total(self) -> int:
        """How many photographs there are."""
        return len(self._photos)

    def _url(self, file: str) -> str:
        return f"coco:{self._subset}/{file}"

    def records(self) -> Iterator[Record]:
        """The photographs by their file names."""
        with contextlib.ExitStack() as stack:
            read = _reader(self._archive, self._subset, stack) if self._archive else None
            for photo in self._photos:
                url = self._url(photo.file)
                path = self._cache / "images" / f"{image_id('coco', url)}.jpg"
                address = f"{self._address}/{self._subset}/{photo.file}"
                yield Record(
                    url=url,
                    label=photo.label,
                    license=photo.license,
                    extension=".jpg",
                    read=partial(read, photo.file) if read else partial(read_file, path),
                    download=None if read else Download(address, path),
                )


SOURCE: Opener = Coco


def _reader(archive: Path, subset: str, stack: contextlib.ExitStack) -> Callable[[str], bytes]:
    """How a photograph is read from an archive or folder on disk."""
    if archive.is_dir():
        places = [archive / subset, archive / "images" / subset, archive]
        folder = next((place for place in places if place.is_dir()), archive)
        return lambda file: read_file(folder / file)
    found = {
        PurePosixPath(m.filename).name: m
        for m in members(archive, f"source.archive = {archive.name}", _REMEDY_ARCHIVE)
    }
    opened = stack.enter_context(zipfile.ZipFile(archive))

    def read(file: str) -> bytes:
        if file not in found:
            raise UnreadableError(f"{archive.name} holds no {file}")
        return unpack(opened, found[file])

    return read


@contextlib.contextmanager
def _open(path: Path, subset: str, remedy: str) -> Iterator[IO[bytes]]:
    """The JSON of the annotations, which may lie in its zip archive."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield file
        return
    names = {f"instances_{subset}.json", f"image_info_{subset}.json"}
    found = [m for m in members(path, str(path), remedy) if PurePosixPath(m.filename).name in names]
    if not found or found[0].file_size > LARGEST_ANNOTATIONS:
        raise DataError(f"{path} holds no {' or '.join(sorted(names))}.", remedy)
    with zipfile.ZipFile(path) as archive, archive.open(found[0]) as member:
        yield member


def _read(path: Path, subset: str, license_: str, remedy: str) -> tuple[list[Photo], int, set[str]]:
    """The photographs, how many entries are none, and the names of the categories."""
    tables = _Tables()
    try:
        with _open(path, subset, remedy) as file:
            tables.read(file)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", remedy) from None
    except (ijson.JSONError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # The parser shows the place in the file on further lines.
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is broken: {reason}.", remedy) from None
    if not tables.files:
        raise DataError(f"{path} holds no annotations of COCO: it lists no images.", remedy)
    photos = [
        Photo(file, tables.label(image), tables.licenses.get(license_id, license_))
        for image, (file, license_id) in tables.files.items()
    ]
    return photos, tables.skipped, set(tables.categories.values())


class _Tables:
    """What is kept of the annotations, of which the outlines are the most."""

    def __init__(self) -> None:
        self.files: dict[int, tuple[str, Any]] = {}
        self.licenses: dict[Any, str] = {}
        self.categories: dict[int, str] = {}
        self.skipped = 0
        self._objects: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self._names: set[str] = set()

    def read(self, file: IO[bytes]) -> None:
        """Read the JSON as a stream: as objects it would fill gigabytes."""
        handlers = {
            "images.item": self._image,
            "annotations.item": self._annotation,
            "categories.item": self._category,
            "licenses.item": self._license,
        }
        events = ijson.parse(file, use_float=True)
        for prefix, event, _ in events:
            handle = handlers.get(prefix)
            if handle is not None and event == "start_map":
                handle(_object(events, prefix))

    def _image(self, item: dict[str, Any]) -> None:
        file, image = item.get("file_name"), item.get("id")
        whole = isinstance(file, str) and isinstance(image, int) and file not in self._names
        # A name is put together with a folder or an address, so it must be one.
        if not whole or not re.fullmatch(r"[\w-][\w. -]*", str(file), re.ASCII):
            self.skipped += 1
            return
        self._names.add(str(file))
        self.files[int(str(image))] = str(file), item.get("license")

    def _annotation(self, item: dict[str, Any]) -> None:
        image, category = item.get("image_id"), item.get("category_id")
        if isinstance(image, int) and isinstance(category, int):
            self._objects[image][category] += 1

    def _category(self, item: dict[str, Any]) -> None:
        if isinstance(item.get("id"), int):
            self.categories[item["id"]] = str(item.get("name", ""))

    def _license(self, item: dict[str, Any]) -> None:
        name, url = item.get("name", ""), item.get("url", "")
        common = re.search(r"creativecommons\.org/licenses/([a-z-]+)/([\d.]+)", str(url))
        text = f"{name} ({url})" if url else str(name)
        # As SPDX names them, so that `quality.licenses` need not repeat sentences.
        self.licenses[item.get("id")] = f"CC-{common[1].upper()}-{common[2]}" if common else text

    def label(self, image: int) -> str:
        """The category with the most objects; of several the one with the lowest id."""
        counts = self._objects.get(image)
        if not counts:
            return ""
        best = min(counts, key=lambda category: (-counts[category], category))
        return self.categories.get(best, "")


def _object(events: Iterator[tuple[str, str, Any]], prefix: str) -> dict[str, Any]:
    """The plain values of one object; what is nested in it is passed over."""
    found: dict[str, Any] = {}
    for place, event, value in events:
        if place == prefix and event == "end_map":
            break
        if event in ("string", "number", "boolean") and place.count(".") == prefix.count(".") + 1:
            found[place.rpartition(".")[2]] = value
    return found
