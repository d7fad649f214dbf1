"""A few images of each split, made small; their ids decide which, so never chance."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from PIL import Image, ImageOps

from chromaflow.data.images.limits import open_image
from chromaflow.data.snapshot.read import Snapshot, select
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
        DataError: A shard does not hold what the manifest says.
    """
    found: dict[str, list[Sample]] = {}
    for split in SPLITS:
        table = select(snapshot.accepted, "split", split)
        pixels = pc.multiply(table["width"].cast("int64"), table["height"].cast("int64"))
        rows = table.filter(pc.less_equal(pixels, _MOST_PIXELS)).slice(0, number).to_pylist()
        by_shard: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_shard.setdefault(row["shard"], []).append(row)
        images = {
            row["id"]: Sample(row, data)
            for shard, wanted in by_shard.items()
            for row, data in _read(snapshot.shards[shard].path, wanted)
        }
        found[split] = [images[row["id"]] for row in rows]
    return found


def _read(path: Path, rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Small pictures of some rows of a shard, found by their headers alone."""
    wanted = {row["key"]: row for row in rows}
    try:
        with tarfile.open(path, "r:") as archive:
            while wanted and (member := archive.next()) is not None:
                key, _, extension = member.name.partition(".")
                if extension == "json" or key not in wanted:
                    continue
                row = wanted.pop(key)
                file = archive.extractfile(member) if member.size == row["bytes"] else None
                data = file.read() if file else b""
                if hashlib.sha256(data).hexdigest() != row["sha256"]:
                    raise ValueError(f"{member.name} is not what the manifest says")
                yield row, _shrink(data)
        if wanted:
            raise ValueError(f"it lacks {', '.join(sorted(wanted))}")
    # Broken bytes make Pillow's decoders raise almost anything, from SyntaxError to struct.error.
    except Exception as error:
        raise DataError(
            f"{path} cannot be read: {error}", "dvc checkout data.dvc --force"
        ) from None


def _shrink(data: bytes) -> bytes:
    with open_image(io.BytesIO(data), _MOST_PIXELS) as image:
        image.draft("RGB", (2 * _SIDE, 2 * _SIDE))
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            rgba = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        rgb = upright.convert("RGB")
    rgb.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=85, subsampling=0)
    return buffer.getvalue()
