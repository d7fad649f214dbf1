"""Lab shards, read where they lie or through a bounded cache of what lies elsewhere."""

import bisect
import functools
import itertools
import json
import operator
import os
import struct
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from chromaflow.data.store.mirror import Mirror
from chromaflow.errors import DataError
from chromaflow.project import files

INDEX = "index.json"
LABELS = "labels.json"
# What an index says of shards of ours; litdata could be misled to unpickle by another.
FORMAT = {
    "data_format": ["str", "numpy"],
    "item_loader": "PyTreeLoader",
    "compression": None,
    "encryption": None,
}
# litdata's numbers for an array of uint8 with three dimensions.
ITEM = (4, 3)
UINT32 = 4
_REMEDY = "chromaflow preprocess"
# A chunk of litdata holds 16 MiB or so, and a process may open 1024 files.
_OPEN_CHUNKS = 256


class LabItem(TypedDict):
    """One stored photograph.

    `id` is its name in the manifest; `lab` its pixels, uint8 (H, W, 3) as stored Lab:
    (round(L·255/100), round(a)+128, round(b)+128).
    """

    id: str
    lab: NDArray[np.uint8]


class _Entry(NamedTuple):
    """A chunk as the index lists it."""

    name: str
    size: int
    images: int
    sha256: str


def _read_index(folder: Path) -> list[_Entry]:
    """Chunks of a split's index, none where the split is empty."""
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        config: dict[str, Any] = index["config"]
        entries = [
            _Entry(
                str(chunk["filename"]),
                int(chunk["chunk_bytes"]),
                int(chunk["chunk_size"]),
                str(chunk.get("sha256", "")),
            )
            for chunk in index["chunks"]
        ]
        known = all(config[key] == value for key, value in FORMAT.items()) and all(
            Path(entry.name).name == entry.name and entry.name.endswith(".bin") and entry.images > 0
            for entry in entries
        )
    except FileNotFoundError:
        raise DataError(f"{folder} holds no Lab shards: no {INDEX}.", f"run {_REMEDY}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}", f"run {_REMEDY}") from None
    if not known:
        raise DataError(f"{path} does not describe Lab shards of chromaflow.", f"run {_REMEDY}")
    return entries


def _is_whole(path: Path, entry: _Entry) -> bool:
    return path.is_file() and path.stat().st_size == entry.size


def _check(folder: Path, entries: Sequence[_Entry]) -> None:
    for entry in entries:
        if not _is_whole(folder / entry.name, entry):
            raise DataError(f"{folder / entry.name} is missing or truncated.", f"run {_REMEDY}")


def is_empty(folder: Path) -> bool:
    """Whether no photograph fell into a split.

    Args:
        folder: `data/lab/<split>`.

    Raises:
        DataError: The index is missing, broken or not ours.
    """
    return not _read_index(folder)


class Labels(NamedTuple):
    """What is on the images of a split, in stored order.

    Attributes:
        names: The labels of the train split, sorted; the same for every split.
        numbers: Places in `names`, int32 (N,); −1 where an image has no label, or one that no image
            of the train split has.
    """

    names: list[str]
    numbers: NDArray[np.int32]


def read_labels(folder: Path) -> Labels:
    """Read the labels of a split.

    Args:
        folder: `data/lab/<split>`.

    Raises:
        DataError: They are missing, broken, or those of other shards.
    """
    path, remedy = folder / LABELS, f"run {_REMEDY}"
    images = sum(entry.images for entry in _read_index(folder))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = [str(name) for name in content["names"]]
        numbers = np.array(content["labels"], np.int32)
        fits = content["index"] == files.sha256_of(folder / INDEX) and len(numbers) == images
        known = bool(np.all((numbers >= -1) & (numbers < len(names))))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the shards have no labels.", remedy) from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{path} cannot be read: {error}", remedy) from None
    if not fits or not known:
        raise DataError(f"{path} holds the labels of other shards.", remedy)
    return Labels(names, numbers)


class _Chunk:
    """A chunk and where its images begin.

    Args:
        path: The file.
        entry: What the index says of it.
        keep: Whether it stays open; one of a cache must not, or its deletion would free nothing.
    """

    def __init__(self, path: Path, entry: _Entry, *, keep: bool) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY) if keep else None
        if self._file is not None:
            weakref.finalize(self, os.close, self._file)
        head = self._bytes(0, UINT32 * (entry.images + 2))
        images, *self._starts = struct.unpack(f"<{len(head) // UINT32}I", head)
        if images != entry.images or len(self._starts) != images + 1:
            raise ValueError("it does not match the index")

    def _bytes(self, start: int, end: int) -> bytes:
        if self._file is not None:
            return os.pread(self._file, end - start, start)
        with self._path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), end - start, start)

    def read(self, place: int) -> LabItem:
        data = self._bytes(*self._starts[place : place + 2])
        name, _, *kind, height, width, channels = _header(data)
        begin = 7 * UINT32 + name
        if tuple(kind) != ITEM or channels != 3 or len(data) != begin + height * width * 3:
            raise ValueError(f"image {place} is broken")
        lab = np.frombuffer(data, np.uint8, offset=begin).reshape(height, width, 3)
        return LabItem(id=data[2 * UINT32 : 2 * UINT32 + name].decode(), lab=lab)


def _header(data: bytes) -> tuple[int, ...]:
    """Lengths of id and array, then type, dimensions and shape of the array."""
    lengths = struct.unpack_from("<2I", data)
    return lengths + struct.unpack_from("<5I", data, 2 * UINT32 + lengths[0])


class LabShards:
    """The Lab shards of one split by random access.

    `shards[i]` gives the same `LabItem` for the same `i` in every process and rank, whatever was
    read before, so an order that is a pure function of seed and step makes resuming exact; its
    pixels cannot be written to. One image is one read, nothing is kept but open files, and no
    thread runs. litdata streams the same folder.

    Args:
        folder: `data/lab/<split>`; its index must be there.
        mirror: A copy of `data/lab` elsewhere, from which chunks come that the folder lacks;
            without it, all must be there.

    Raises:
        DataError: The folder is missing, empty, cut short or not ours.
    """

    def __init__(self, folder: Path, mirror: Mirror | None = None) -> None:
        self._folder, self._mirror = folder.resolve(), mirror
        self._entries = _read_index(self._folder)
        if not self._entries:
            raise DataError(
                f"{self._folder} is empty: no accepted photograph fell into this split.",
                f"add photographs or change split in params.yaml, then run {_REMEDY}",
            )
        if mirror is None:
            _check(self._folder, self._entries)
        self.sizes = [entry.images for entry in self._entries]
        self._prepare()

    def _prepare(self) -> None:
        self._starts = [0, *itertools.accumulate(self.sizes)]
        self._open = functools.lru_cache(_OPEN_CHUNKS)(self._open_chunk)

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay with the process that opened them."""
        return {key: value for key, value in self.__dict__.items() if key != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def __len__(self) -> int:
        """Number of images of the split."""
        return self._starts[-1]

    def __getitem__(self, index: int) -> LabItem:
        """The image at a position of the stored order, 0 to `len()` − 1.

        Raises:
            IndexError: There is no such position.
            DataError: The chunk is gone or broken.
            ServerError: The mirror does not answer.
        """
        position = operator.index(index)
        if not 0 <= position < len(self):
            raise IndexError(f"image {position} of {len(self)}")
        number = bisect.bisect_right(self._starts, position) - 1
        try:
            return self._read(number, position - self._starts[number])
        except (OSError, ValueError, struct.error) as error:
            place = self._folder / self._entries[number].name
            raise DataError(f"{place} cannot be read: {error}", f"run {_REMEDY}") from None

    def _read(self, number: int, place: int) -> LabItem:
        while True:
            try:
                return self._open(number).read(place)
            except FileNotFoundError:
                if self._mirror is None:
                    raise
                # Another process made room in the cache.
                self.fetch(number)

    def fetch(self, number: int) -> Path:
        """Where a chunk lies, brought into the cache if it lay only in the mirror.

        Args:
            number: Of the chunk, in the order of `sizes`.

        Raises:
            DataError: The mirror holds no such chunk.
            ServerError: It does not answer.
        """
        entry = self._entries[number]
        path = self._folder / entry.name
        if self._mirror is None or _is_whole(path, entry):
            return path
        return self._mirror.fetch(f"{self._folder.name}/{entry.name}", entry.size, entry.sha256)

    def _open_chunk(self, number: int) -> _Chunk:
        path = self.fetch(number)
        return _Chunk(path, self._entries[number], keep=path.parent == self._folder)


def read_split(folder: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Read a split in stored order, all of it, whatever the rank or worker that asks.

    Args:
        folder: `data/lab/<split>`.

    Returns:
        Ids and stored Lab images, uint8 (H, W, 3).

    Raises:
        DataError: The folder is missing, empty, cut short or not ours; at the call, not later.
    """
    shards = LabShards(folder)
    return ((item["id"], item["lab"]) for item in map(shards.__getitem__, range(len(shards))))
