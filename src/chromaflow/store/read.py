"""Lab shards, read where they lie."""

import bisect
import itertools
import json
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from litdata import StreamingDataset
from litdata.streaming.resolver import Dir
from litdata.streaming.sampler import ChunkedIndex
from numpy.typing import NDArray

from chromaflow.errors import DataError

INDEX = "index.json"
ITEM_FORMAT = ["str", "numpy"]
_MEND = "chromaflow preprocess"


class LabItem(TypedDict):
    """One stored photograph.

    `id` is its name in the manifest; `lab` its pixels, uint8 (H, W, 3) as stored Lab:
    (round(L·255/100), round(a)+128, round(b)+128).
    """

    id: str
    lab: NDArray[np.uint8]


def _read_chunks(folder: Path) -> list[dict[str, Any]]:
    """Chunks of a split's index, none where the split is empty.

    What could mislead litdata is refused: an index names the decoder of each field, pickle among
    them, and the files to open.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        chunks: list[dict[str, Any]] = index["chunks"]
        config = index["config"]
        known = (
            config["data_format"] == ITEM_FORMAT
            and config["item_loader"] == "PyTreeLoader"
            and not config["compression"]
            and not config["encryption"]
            and all(Path(chunk["filename"]).name == chunk["filename"] for chunk in chunks)
        )
        sizes = {str(chunk["filename"]): int(chunk["chunk_bytes"]) for chunk in chunks}
    except FileNotFoundError:
        raise DataError(f"{folder} holds no Lab shards: no {INDEX}.", f"run {_MEND}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}", f"run {_MEND}") from None
    if not known:
        raise DataError(f"{path} does not describe Lab shards of chromaflow.", f"run {_MEND}")
    for name, size in sizes.items():
        chunk_path = folder / name
        if not chunk_path.is_file() or chunk_path.stat().st_size != size:
            raise DataError(f"{chunk_path} is missing or cut short.", f"run {_MEND}")
    return chunks


def is_empty(folder: Path) -> bool:
    """Whether no photograph fell into a split.

    Args:
        folder: `data/lab/<split>`.

    Raises:
        DataError: The folder is missing, cut short or not ours.
    """
    return not _read_chunks(folder)


class LabShards(StreamingDataset):
    """The Lab shards of one split: random access, or litdata's own stream.

    `shards[i]` gives the same `LabItem` for the same `i` in every process and rank, whatever was
    read before, so an order that is a pure function of seed and step makes resuming exact. To
    give it to a `DataLoader` by index, wrap it in a dataset with `__len__` and `__getitem__`
    (`torch.utils.data.Subset` will do); its length is `images`, since `len()` of litdata is a
    rank's share.

    Iterating, alone or in `litdata.StreamingDataLoader`, streams chunk after chunk, shuffled by
    litdata and shared over ranks and workers. Chunks are mapped into memory in place: nothing is
    copied, cached, deleted or downloaded, and no thread runs.

    Args:
        folder: `data/lab/<split>`.
        shuffle: Shuffle the stream.
        seed: Of that shuffle.
        drop_last: Give each rank and worker the same number of images in the stream.

    Raises:
        DataError: The folder is missing, empty, cut short or not ours.
    """

    def __init__(
        self, folder: Path, *, shuffle: bool = False, seed: int = 17, drop_last: bool | None = None
    ) -> None:
        folder = folder.resolve()
        sizes = [int(chunk["chunk_size"]) for chunk in _read_chunks(folder)]
        if not sizes:
            raise DataError(
                f"{folder} is empty: no accepted photograph fell into this split.",
                f"add photographs or change split in params.yaml, then run {_MEND}",
            )
        self._starts = [0, *itertools.accumulate(sizes)]
        super().__init__(
            # A plain string would be searched for time templates and cloud addresses.
            Dir(path=str(folder), url=None),
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            # By default litdata decodes some 80 neighbours with each image: 100 times slower
            # at random access.
            batch_decode=0,
        )

    @property
    def images(self) -> int:
        """Number of images of the split, on every rank."""
        return self._starts[-1]

    def __getitem__(self, index: int | ChunkedIndex) -> LabItem:
        """The image at a position of the stored order, 0 to `images` − 1.

        Raises:
            IndexError: There is no such position.
        """
        if not isinstance(index, ChunkedIndex):
            position = operator.index(index)
            if not 0 <= position < self.images:
                raise IndexError(f"image {position} of {self.images}")
            chunk = bisect.bisect_right(self._starts, position) - 1
            index = ChunkedIndex(index=position, chunk_index=chunk)
        item: LabItem = super().__getitem__(index)
        return item


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
    return ((item["id"], item["lab"]) for item in map(shards.__getitem__, range(shards.images)))
