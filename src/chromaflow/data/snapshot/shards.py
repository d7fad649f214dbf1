"""Raw shards: tar archives by the WebDataset convention, `<key>.<extension>` and `<key>.json`.

The same images give the same bytes: no times, owners or modes of this machine enter the archive.
"""

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from chromaflow.errors import DataError
from chromaflow.project.files import atomic_file


class Member(NamedTuple):
    """One image of a shard: its key, extension with dot, bytes, and what its JSON says."""

    key: str
    extension: str
    data: bytes
    facts: dict[str, Any]


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    archive.addfile(header, io.BytesIO(data))


def write_shard(path: Path, members: Iterable[Member]) -> None:
    """Write a shard atomically, one image in memory at a time.

    Args:
        path: The tar archive.
        members: Drawn as they are written; keys hold no dot, for a dot ends a key.
    """
    with (
        atomic_file(path) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for member in members:
            facts = json.dumps(member.facts, sort_keys=True, ensure_ascii=False)
            _add(archive, member.key + member.extension, member.data)
            _add(archive, member.key + ".json", facts.encode())


def _extract(archive: tarfile.TarFile, header: tarfile.TarInfo) -> bytes:
    file: IO[bytes] | None = archive.extractfile(header) if header.isfile() else None
    if file is None:
        raise tarfile.TarError(f"{header.name} is no file")
    return file.read()


@contextlib.contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", "dvc checkout data.dvc --force"
        ) from None


def read_shard(path: Path) -> Iterator[Member]:
    """The images of a shard in stored order, one in memory at a time.

    Raises:
        DataError: The archive is missing, broken, or does not follow the convention.
    """
    with _faults(path), tarfile.open(path, "r:") as archive:
        while (image := archive.next()) is not None:
            data = _extract(archive, image)
            facts = archive.next()
            key, dot, extension = image.name.partition(".")
            if facts is None or facts.name != f"{key}.json":
                raise tarfile.TarError(f"{image.name} has no {key}.json")
            yield Member(key, dot + extension, data, json.loads(_extract(archive, facts)))


class StoredImages(contextlib.AbstractContextManager["StoredImages"]):
    """Images by their keys; of a shard only headers and what is asked for are read.

    The shard that was read last stays open until the block ends.

    Args:
        folders: Where shards may lie; the first one that holds a shard counts.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._shard = ""
        self._path = Path()
        self._images: dict[str, tarfile.TarInfo] = {}
        self._opened = contextlib.ExitStack()

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _open(self, shard: str) -> None:
        self._opened.close()
        self._shard = ""
        paths = [folder / shard for folder in self._folders]
        self._path = next((path for path in paths if path.is_file()), paths[0])
        with _faults(self._path):
            archive = tarfile.open(self._path, "r:")  # noqa: SIM115 (closed with the stack)
            self._archive = self._opened.enter_context(archive)
            images = (header for header in self._archive if not header.name.endswith(".json"))
            self._images = {header.name.partition(".")[0]: header for header in images}
        self._shard = shard

    def read(self, shard: str, key: str, sha256: str) -> bytes:
        """The bytes of an image.

        Args:
            shard: Its archive, relative to the folder.
            key: Its name in the archive, without extension.
            sha256: Of its bytes, hexadecimal.

        Raises:
            DataError: The archive is missing or broken, or holds no such image.
        """
        if shard != self._shard:
            self._open(shard)
        with _faults(self._path):
            if key not in self._images:
                raise tarfile.TarError(f"it holds no {key}")
            data = _extract(self._archive, self._images[key])
            if hashlib.sha256(data).hexdigest() != sha256:
                raise tarfile.TarError(f"{key} has another SHA-256 than the manifest says")
        return data
