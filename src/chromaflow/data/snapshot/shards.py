"""Raw shards: tar archives by the WebDataset convention, `<key>.<extension>` and `<key>.json`.

The same images give the same bytes: no times, owners or modes of this machine enter the archive.
"""

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from chromaflow.errors import DataError
from chromaflow.project.files import atomic_file

_RESTORE = "dvc checkout data.dvc --force"


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


def stays_in_snapshot(shard: str) -> bool:
    """Whether the name of a shard, as a manifest gives it, leads to no place outside `data/raw`."""
    path = PurePosixPath(shard)
    return not path.is_absolute() and ".." not in path.parts


class Shard(contextlib.AbstractContextManager["Shard"]):
    """A raw shard, open for reading.

    Headers are read as far as to the image that is asked for, and of the images only that one.

    Args:
        path: The tar archive.

    Raises:
        DataError: It is missing or no archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._images: dict[str, tarfile.TarInfo] = {}
        with self._explain_errors():
            self._archive = tarfile.open(path, "r:")  # noqa: SIM115 (closed by __exit__)

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def read(self, key: str, sha256: str) -> bytes:
        """The bytes of an image.

        Args:
            key: Its name in the archive, without extension.
            sha256: Of its bytes, hexadecimal.

        Raises:
            DataError: The archive is broken, holds no such image, or one of other bytes.
        """
        with self._explain_errors():
            header = self._find(key)
            file = self._archive.extractfile(header) if header else None
            data = file.read() if file else None
        if data is None:
            raise DataError(f"{self.path} holds no {key}.", _RESTORE)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DataError(
                f"{key} in {self.path} has another SHA-256 than the manifest says.", _RESTORE
            )
        return data

    def _find(self, key: str) -> tarfile.TarInfo | None:
        while key not in self._images:
            header = self._archive.next()
            if header is None:
                return None
            # A link could lead to any file of this machine.
            if header.isreg() and not header.name.endswith(".json"):
                self._images[header.name.partition(".")[0]] = header
        return self._images[key]

    @contextlib.contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"{self.path} is missing; the manifest names it.", _RESTORE) from None
        except (OSError, tarfile.TarError, ValueError) as error:
            raise DataError(
                f"{self.path} cannot be read as a tar archive: {error}", _RESTORE
            ) from None


class StoredImages(contextlib.AbstractContextManager["StoredImages"]):
    """Images of a snapshot by shard and key; the shard that was read last stays open.

    Args:
        folders: Where shards may lie; the first one that holds a shard counts.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._name = ""
        self._opened = contextlib.ExitStack()

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def read(self, shard: str, key: str, sha256: str) -> bytes:
        """The bytes of an image.

        Args:
            shard: Its archive, relative to the folder.
            key: As of `Shard.read`.
            sha256: As of `Shard.read`.

        Raises:
            DataError: The archive leads out of the snapshot, is missing or broken, or does not hold
                the image.
        """
        if shard != self._name:
            self._open(shard)
        return self._shard.read(key, sha256)

    def _open(self, shard: str) -> None:
        self._opened.close()
        self._name = ""
        if not stays_in_snapshot(shard):
            raise DataError(f"the manifest names a shard {shard!r}.", "chromaflow ingest")
        paths = [folder / shard for folder in self._folders]
        path = next((path for path in paths if path.is_file()), paths[0])
        self._shard = self._opened.enter_context(Shard(path))
        self._name = shard
