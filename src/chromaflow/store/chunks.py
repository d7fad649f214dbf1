"""litdata chunks in groups: each group is written under a name of its own and found again by it."""

import itertools
import os
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from litdata.streaming.serializers import StringSerializer
from litdata.streaming.writer import BinaryWriter

from chromaflow.files import atomic_file, write_json
from chromaflow.store.read import INDEX, LabItem

Chunk = dict[str, Any]

_OFFSET_BYTES = 4


class _Identifiers(StringSerializer):
    """Texts as they are: litdata would store the content of a file that is named like an id."""

    def can_serialize(self, data: Any) -> bool:
        return isinstance(data, str)


def _writer(folder: Path, chunk_bytes: int) -> Any:
    return BinaryWriter(str(folder), chunk_bytes=chunk_bytes, serializers={"str": _Identifiers()})


def _file_name(group: str, number: int) -> str:
    return f"{group}-{number:05d}.bin"


def _measure(path: Path) -> Chunk:
    """What the index says of a chunk, from its own header.

    A chunk is the number of its images, n, then n + 1 offsets of which the last is the chunk's
    length, all uint32, then the images.
    """
    with path.open("rb") as file:
        images = struct.unpack("<I", file.read(4))[0]
        file.seek(4 + 4 * images)
        length = struct.unpack("<I", file.read(4))[0]
        if length != file.seek(0, os.SEEK_END):
            raise ValueError(f"{path} is cut short")
    return {"chunk_bytes": length, "chunk_size": images, "dim": None, "filename": path.name}


def find(folder: Path, group: str, images: int) -> list[Chunk] | None:
    """The chunks of a group as the index tells them; None unless all of its images are there.

    Args:
        folder: `data/lab/<split>`.
        group: Its name.
        images: How many images it holds when it is complete.
    """
    found: list[Chunk] = []
    while images > 0:
        try:
            found.append(_measure(folder / _file_name(group, len(found))))
        except (FileNotFoundError, ValueError, struct.error):
            return None
        images -= found[-1]["chunk_size"]
    return found if images == 0 else None


def write(folder: Path, group: str, chunk_bytes: int, items: Iterable[LabItem]) -> list[Chunk]:
    """Write a group; each chunk takes its name when it is complete and on disk.

    Args:
        folder: `data/lab/<split>`.
        group: Its name.
        chunk_bytes: Largest chunk, and what is held in memory; an image that alone is larger
            makes a chunk of its own.
        items: The images, drawn one by one.

    Returns:
        The chunks as the index tells them.
    """
    with tempfile.TemporaryDirectory() as unused:
        serialize = _writer(Path(unused), chunk_bytes).serialize
    chunks: list[Chunk] = []
    waiting: list[bytes] = []
    length = 2 * _OFFSET_BYTES
    for item in items:
        data, _ = serialize(item)
        if waiting and length + len(data) > chunk_bytes:
            chunks.append(_write_chunk(folder / _file_name(group, len(chunks)), waiting))
            waiting, length = [], 2 * _OFFSET_BYTES
        waiting.append(data)
        length += len(data) + _OFFSET_BYTES
    if waiting:
        chunks.append(_write_chunk(folder / _file_name(group, len(chunks)), waiting))
    return chunks


def _write_chunk(path: Path, items: list[bytes]) -> Chunk:
    # litdata's own writer copies each chunk three times on its way to the disk.
    start = _OFFSET_BYTES * (len(items) + 2)
    offsets = itertools.accumulate(map(len, items), initial=start)
    with atomic_file(path) as file:
        file.write(struct.pack(f"<{len(items) + 2}I", len(items), *offsets))
        file.writelines(items)
    return _measure(path)


def write_index(folder: Path, chunks: list[Chunk], chunk_bytes: int) -> None:
    """Write the `index.json` of a split, which litdata reads; it holds no time of writing.

    Args:
        folder: `data/lab/<split>`.
        chunks: All chunks in the order in which they are read.
        chunk_bytes: Largest chunk.
    """
    with tempfile.TemporaryDirectory() as temporary:
        # litdata tells the format of an item once it has seen one.
        writer = _writer(Path(temporary), chunk_bytes)
        writer.add_item(0, LabItem(id="", lab=np.zeros((1, 1, 3), np.uint8)))
        config = writer.get_config()
    write_json(folder / INDEX, {"chunks": chunks, "config": config})
