"""A few images of each split, as thumbnails; chosen by their ids, so never at random."""

from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from chromaflow.data.images.thumbnail import thumbnail
from chromaflow.data.snapshot.read import Snapshot, select
from chromaflow.data.snapshot.shards import Shard
from chromaflow.errors import DataError
from chromaflow.project.splits import SPLITS

_SIDE = 144
# Larger ones take long to shrink, and there are others to show.
_MOST_PIXELS = 50_000_000


@dataclass(frozen=True)
class Sample:
    """An image of the snapshot, made small.

    Args:
        row: Its row in the manifest.
        jpeg: 144 pixels on its longer side at most.
    """

    row: dict[str, Any]
    jpeg: bytes


def samples(snapshot: Snapshot, number: int) -> dict[str, list[Sample]]:
    """The first images of each split by id; ids are hashes, so their order is as good as any.

    Args:
        snapshot: Read from disk; the shards are opened.
        number: Images of a split, at most.

    Raises:
        DataError: A shard does not hold what the manifest says, or an image does not decode.
    """
    found: dict[str, list[Sample]] = {}
    for split in SPLITS:
        table = select(snapshot.accepted, "split", split)
        pixels = pc.multiply(table["width"].cast("int64"), table["height"].cast("int64"))
        rows = table.filter(pc.less_equal(pixels, _MOST_PIXELS)).slice(0, number).to_pylist()
        by_shard: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_shard.setdefault(row["shard"], []).append(row)
        images: dict[str, Sample] = {}
        for name, wanted in by_shard.items():
            with Shard(snapshot.shards[name].path) as shard:
                images |= {row["id"]: Sample(row, _small(shard, row)) for row in wanted}
        found[split] = [images[row["id"]] for row in rows]
    return found


def _small(shard: Shard, row: dict[str, Any]) -> bytes:
    data = shard.read(row["key"], row["sha256"])
    try:
        return thumbnail(data, _SIDE, _MOST_PIXELS)
    # Broken bytes make Pillow's decoders raise almost anything, from SyntaxError to struct.error.
    except Exception as error:
        raise DataError(
            f"{row['key']} in {shard.path} cannot be shown: {error}", "chromaflow validate"
        ) from None
