import io

import pytest
from PIL import Image

from chromaflow.data.snapshot.read import read_snapshot
from chromaflow.data.snapshot.samples import samples
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from tests.support.description import Tables, write_shard


def test_samples_are_the_first_by_id_and_small(checkout: Project, rows: Tables) -> None:
    snapshot = read_snapshot(checkout)
    found = samples(snapshot, 2)
    train = sorted(row["id"] for row in rows[0] if row["split"] == "train")[:2]
    assert [sample.row["id"] for sample in found["train"]] == train
    assert [len(found[name]) for name in ("train", "validation", "test")] == [2, 1, 1]
    for sample in [image for images in found.values() for image in images]:
        with Image.open(io.BytesIO(sample.jpeg)) as image:
            assert image.format == "JPEG"
            assert max(image.size) == 144
            shape = sample.row["width"] / sample.row["height"]
            assert image.width / image.height == pytest.approx(shape, rel=0.02)


def test_a_shard_with_other_pixels_is_refused(checkout: Project, rows: Tables) -> None:
    row = rows[0][0]
    shard = checkout.raw / row["shard"]
    write_shard(shard, [(f"{row['key']}.png", bytes(row["bytes"]))])
    with pytest.raises(DataError, match="another SHA-256 than the manifest says") as caught:
        samples(read_snapshot(checkout), 6)
    assert str(shard) in caught.value.problem
    write_shard(shard, [("other.png", b"x"), ("other.json", b"{}")])
    with pytest.raises(DataError, match=f"holds no {row['key']}"):
        samples(read_snapshot(checkout), 6)
    shard.write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        samples(read_snapshot(checkout), 6)
