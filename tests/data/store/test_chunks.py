import json
from pathlib import Path

import numpy as np
import pytest
from litdata.streaming.writer import BinaryWriter

from chromaflow.data.store import chunks
from chromaflow.data.store.read import LabItem
from chromaflow.project.files import sha256_of


def test_litdata_writes_the_bytes_it_always_wrote(tmp_path: Path) -> None:
    """Another release of litdata may write another format: then raise _FORMAT in write.py."""
    ramp = np.arange(32 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 40, 3)
    items = [LabItem(id=name, lab=ramp) for name in ("one", "zwei")]
    chunks.write(tmp_path, "group", 2**20, items)
    lab = np.array([4, 3, *ramp.shape], np.uint32).tobytes() + ramp.tobytes()
    stored = [
        np.array([len(name), len(lab)], np.uint32).tobytes() + name.encode() + lab
        for name in ("one", "zwei")
    ]
    offsets = np.cumsum([16, *map(len, stored)], dtype=np.uint32)
    expected = np.uint32(2).tobytes() + offsets.tobytes() + b"".join(stored)
    assert (tmp_path / "group-00000.bin").read_bytes() == expected


@pytest.mark.parametrize("filled", [True, False])
def test_the_index_is_the_one_that_litdata_writes(tmp_path: Path, filled: bool) -> None:
    found = []
    if filled:
        items = [LabItem(id="one", lab=np.zeros((32, 40, 3), np.uint8))]
        found = chunks.write(tmp_path, "group", 2**20, items)
    chunks.write_index(tmp_path, found, 2**20)
    index = json.loads((tmp_path / "index.json").read_text())
    writer = BinaryWriter(str(tmp_path / "other"), chunk_bytes=2**20)
    writer.add_item(0, {"id": "one", "lab": np.zeros((32, 40, 3), np.uint8)})
    writer.done()
    writer.merge()
    theirs = json.loads((tmp_path / "other" / "index.json").read_text())
    assert index["config"] == theirs["config"]
    keys = {"chunk_bytes", "chunk_size", "dim", "filename"}
    assert all(keys == chunk.keys() & keys for chunk in theirs["chunks"])
    if filled:
        assert [{key: chunk[key] for key in keys - {"filename"}} for chunk in index["chunks"]] == [
            {key: chunk[key] for key in keys - {"filename"}} for chunk in theirs["chunks"]
        ]
        assert index["chunks"][0]["sha256"] == sha256_of(tmp_path / "group-00000.bin")
