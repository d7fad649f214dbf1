"""litdata chunks in groups: each group is written under a name of its own and found again by it."""

import hashlib
import io
import itertools
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chromaflow.data.store import statistics
from chromaflow.data.store.read import FORMAT, INDEX, ITEM, LABELS, UINT32, LabItem
from chromaflow.project import files

Chunk = dict[str, Any]

# What litdata says of items {"id": text, "lab": array}; the name of its uint8 is ITEM's business.
_SPEC = (
    '[1, {"type": "builtins.dict", "context": "[\\"id\\", \\"lab\\"]", "children_spec": '
    '[{"type": null, "context": null, "children_spec": []}, '
    '{"type": null, "context": null, "children_spec": []}]}]'
)


def _file_name(group: str, number: int) -> str:
    return f"{group}-{number:05d}.bin"


def colors_name(group: str) -> str:
    """Name of the file next to a group's chunks that counts its colors."""
    return f"{group}.colors.npy"


def list_name(group: str) -> str:
    """Name of the file next to a group's chunks that lists them."""
    return f"{group}.json"


def find(folder: Path, group: str, images: int) -> list[Chunk] | None:
    """The chunks of a group as the index lists them; None unless all of its images are there.

    Args:
        folder: `data/lab/<split>`.
        group: Its name.
        images: How many images it holds when it is complete.
    """
    try:
        read_colors(folder, group)
        found: list[Chunk] = json.loads((folder / list_name(group)).read_text(encoding="utf-8"))
        for number, chunk in enumerate(found):
            path = folder / _file_name(group, number)
            if chunk["filename"] != path.name or chunk["chunk_bytes"] != path.stat().st_size:
                return None
            images -= chunk["chunk_size"]
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    return found if images == 0 else None


def read_colors(folder: Path, group: str) -> NDArray[np.int64]:
    """The colors of a group's images, int64 (256, 256), as `statistics.ColorCount` counts them.

    Raises:
        OSError: The file is not there.
        ValueError: It holds something else.
    """
    places, counts = np.load(folder / colors_name(group), allow_pickle=False)
    colors = np.zeros(256 * 256, np.int64)
    colors[places] = counts
    return colors.reshape(256, 256)


def _write_colors(folder: Path, group: str, colors: NDArray[np.int64]) -> None:
    flat = colors.ravel()
    places = np.flatnonzero(flat)
    content = io.BytesIO()
    np.save(content, np.stack([places, flat[places]]).astype(np.int64), allow_pickle=False)
    files.write_bytes(folder / colors_name(group), content.getvalue())


def write(folder: Path, group: str, chunk_bytes: int, items: Iterable[LabItem]) -> list[Chunk]:
    """Write a group; each file takes its name when it is complete and on disk.

    One chunk is written while the images of the next are drawn. The list of the chunks comes
    last: a group that has it is whole.

    Args:
        folder: `data/lab/<split>`.
        group: Its name.
        chunk_bytes: Largest chunk, and half of what is held in memory; an image that alone is
            larger makes a chunk of its own.
        items: The images, drawn one by one.

    Returns:
        The chunks as the index lists them.
    """
    chunks: list[Chunk] = []
    colors = statistics.ColorCount()
    with ThreadPoolExecutor(1) as disk:
        waiting: Future[Chunk] | None = None
        for number, content in enumerate(_fill(items, chunk_bytes, colors)):
            if waiting is not None:
                chunks.append(waiting.result())
            path = folder / _file_name(group, number)
            waiting = disk.submit(_write_chunk, path, content)
        if waiting is not None:
            chunks.append(waiting.result())
    _write_colors(folder, group, colors.total())
    files.write_json(folder / list_name(group), chunks)
    return chunks


def _fill(
    items: Iterable[LabItem], chunk_bytes: int, colors: statistics.ColorCount
) -> Iterator[list[tuple[bytes, LabItem]]]:
    """The images of each chunk, each with the bytes that stand before its pixels."""
    content: list[tuple[bytes, LabItem]] = []
    length = 2 * UINT32
    for item in items:
        name, lab = item["id"].encode(), item["lab"]
        colors.add(lab)
        shape = struct.pack("<5I", *ITEM, *lab.shape)
        head = struct.pack("<2I", len(name), len(shape) + lab.nbytes) + name + shape
        size = len(head) + lab.nbytes
        if content and length + size > chunk_bytes:
            yield content
            content, length = [], 2 * UINT32
        content.append((head, item))
        length += size + UINT32
    if content:
        yield content


def _write_chunk(path: Path, content: list[tuple[bytes, LabItem]]) -> Chunk:
    sizes = (len(head) + item["lab"].nbytes for head, item in content)
    offsets = itertools.accumulate(sizes, initial=UINT32 * (len(content) + 2))
    digest = hashlib.sha256()
    # litdata's own writer copies each chunk three times on its way to the disk.
    with files.atomic_file(path) as file:
        parts = [memoryview(struct.pack(f"<{len(content) + 2}I", len(content), *offsets))]
        for head, item in content:
            parts += [memoryview(head), np.ascontiguousarray(item["lab"]).data]
        for part in parts:
            digest.update(part)
            file.write(part)
        length = file.tell()
    return {
        "chunk_bytes": length,
        "chunk_size": len(content),
        "dim": None,
        "filename": path.name,
        "sha256": digest.hexdigest(),
    }


def write_index(folder: Path, chunks: list[Chunk], chunk_bytes: int) -> None:
    """Write the `index.json` of a split, which litdata reads; it holds no time of writing.

    Args:
        folder: `data/lab/<split>`.
        chunks: All chunks in the order in which they are read.
        chunk_bytes: Largest chunk.
    """
    config = {
        **FORMAT,
        "chunk_bytes": chunk_bytes,
        "chunk_size": None,
        "compression_batch_size": None,
        "compression_level": None,
        "data_spec": _SPEC,
        "ipc_compression": None,
        "types": {"id": "str", "lab": "json"},
    }
    files.write_json(folder / INDEX, {"chunks": chunks, "config": config})


def write_labels(folder: Path, names: Sequence[str], numbers: Sequence[int]) -> None:
    """Write what is on the images of a split, for `read.read_labels`; the index must be there.

    Args:
        folder: `data/lab/<split>`.
        names: The labels of the train split, sorted.
        numbers: A place in them for each image in stored order, or −1.
    """
    content = {
        # So that labels of other shards are never taken for those of these.
        "index": files.sha256_of(folder / INDEX),
        "labels": list(numbers),
        "names": list(names),
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    files.write_text(folder / LABELS, text + "\n")
