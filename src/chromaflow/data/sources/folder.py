"""The user's own photographs: every image file of a folder and its sub-folders."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from chromaflow.data.sources.base import Opener, Record, draw, read_file
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import DownloadSettings, SourceSettings
from chromaflow.settings.sources import FolderSource

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"})


def _raise(error: OSError) -> None:
    raise error


def _readable(text: str) -> str:
    """A name from the disk as proper text; bytes that are not UTF-8 become question marks."""
    return os.fsencode(text).decode("utf-8", "replace")


class Folder:
    """Photographs of a folder; see `chromaflow.data.sources.base.Source`.

    The label is the name of the sub-folder that a photograph lies in, or empty. Hidden files and
    folders are passed over, and so are links that lead out of the folder.

    Args:
        project: The checkout.
        text: The folder, as its setting names it.
        settings: Those that every source takes.

    Raises:
        DataError: The setting is empty, or the folder is none, not readable, without an image, or
            holds the checkout itself.
    """

    prefix = "folder:"
    split = ""
    setting = "source.folder"
    remedy = "chromaflow ingest --set source.name=folder --set source.folder=PATH"

    def __init__(self, project: Project, text: str, settings: SourceSettings) -> None:
        if not text:
            raise DataError("source.name = folder, but source.folder names no folder.", self.remedy)
        self._license = settings.license
        self._name = f"{self.setting} = {text}"
        self._root = project.locate(text)
        self.skipped = 0
        try:
            self._check(project)
            self._names = list(self._walk())
        except OSError as error:
            raise DataError(
                f"{self._name}: {error.filename} cannot be read: {error.strerror}", self.remedy
            ) from None
        if not self._names:
            kinds = " ".join(sorted(EXTENSIONS))
            raise DataError(
                f"{self._name} holds no image ({kinds}); links to other folders are not followed.",
                self.remedy,
            )
        self._names = self._choose(self._names, settings)

    def _choose(self, names: list[str], settings: SourceSettings) -> list[str]:
        return draw(names, self._url, settings)

    def _url(self, name: str) -> str:
        return self.prefix + quote(os.fsencode(name))

    def _check(self, project: Project) -> None:
        if not self._root.is_dir():
            state = "is not a folder" if self._root.exists() else "does not exist"
            raise DataError(f"{self._name} {state}.", self.remedy)
        self._root = self._root.resolve()
        if project.root.resolve().is_relative_to(self._root):
            raise DataError(
                f"{self._name} holds this checkout, with all its pictures.", self.remedy
            )
        if self._root.is_relative_to(project.raw.resolve()):
            raise DataError(
                f"{self._name} lies in {project.raw}, which is ingest's own.", self.remedy
            )

    def _walk(self) -> Iterator[str]:
        for place, folders, names in os.walk(self._root, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(place, name)
                if self._is_photograph(path):
                    yield path.relative_to(self._root).as_posix()
                else:
                    self.skipped += 1

    def _is_photograph(self, path: Path) -> bool:
        if path.name.startswith(".") or path.suffix.lower() not in EXTENSIONS:
            return False
        try:
            inside = not path.is_symlink() or path.resolve().is_relative_to(self._root)
            return inside and path.is_file()
        # A link that leads to itself; newer releases of Python raise OSError.
        except (RuntimeError, OSError):
            return False

    @property
    def total(self) -> int:
        """How many photographs there are."""
        return len(self._names)

    def records(self) -> Iterator[Record]:
        """The photographs, folder after folder, by name."""
        for name in self._names:
            path = self._root / name
            yield Record(
                url=self._url(name),
                label=_readable(path.parent.name) if path.parent != self._root else "",
                license=self._license,
                extension=path.suffix.lower(),
                read=partial(read_file, path),
                split=self.split,
            )


def open_folder(project: Project, settings: FolderSource, _download: DownloadSettings) -> Folder:
    """The source for the folder that the settings name; raises as `Folder`."""
    return Folder(project, settings.folder, settings)


SOURCE: Opener = open_folder
