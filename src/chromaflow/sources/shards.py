"""Raw shards: tar archives by the WebDataset convention, `<key>.<extension>` and `<key>.json`.

The same images give the same bytes: no times, owners or modes of this machine enter the archive.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from chromaflow.errors import DataError
from chromaflow.files import atomic_file


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


def read_shard(path: Path) -> Iterator[Member]:
    """The images of a shard in stored order, one in memory at a time.

    Raises:
        DataError: The archive is missing, broken, or does not follow the convention.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            while (image := archive.next()) is not None:
                data = _extract(archive, image)
                facts = archive.next()
                key, dot, extension = image.name.partition(".")
                if facts is None or facts.name != f"{key}.json":
                    raise tarfile.TarError(f"{image.name} has no {key}.json")
                yield Member(key, dot + extension, data, json.loads(_extract(archive, facts)))
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", "dvc checkout data.dvc --force"
        ) from None
