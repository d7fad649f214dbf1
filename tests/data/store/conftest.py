"""Raw snapshots of real photographs, as ingest and validation leave them."""

import functools
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

from chromaflow.project.paths import Project
from chromaflow.settings import Settings

NAMES = ("astronaut", "chelsea", "coffee", "rocket")


class Accepted(NamedTuple):
    """A photograph that passed validation."""

    id: str
    split: str
    data: bytes
    extension: str = ".jpg"
    label: str | None = None


Snapshot = dict[str, list[Accepted]]
"""The accepted photographs of each raw shard."""
Accept = Callable[[Snapshot], Project]
"""Writes a snapshot into the checkout."""


def encode(pixels: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@functools.cache
def tile(number: int) -> bytes:
    """A different 90×120 tile of a photograph for each number, as JPEG."""
    photograph = getattr(data, NAMES[number % len(NAMES)])()
    top, left = 17 * number % 200, 29 * number % 300
    return encode(photograph[top : top + 90, left : left + 120], quality=90)


@pytest.fixture
def snapshot() -> Snapshot:
    """Three raw shards of seven photographs each; in each, five train."""
    splits = ("train", "train", "validation", "train", "test", "train", "train")
    return {
        f"sample/{shard:06d}.tar": [
            Accepted(f"{(7 * shard + n) * 7919 % 4096:016x}", split, tile(7 * shard + n))
            for n, split in enumerate(splits)
        ]
        for shard in range(3)
    }


@pytest.fixture
def small() -> Settings:
    """Images of 48 pixels, a handful of them to a chunk."""
    return Settings.model_validate({"preprocess": {"size": 48, "shard_size": "24KiB"}})


def write_tar(project: Project, shard: str, rows: Sequence[Accepted]) -> None:
    path = project.raw / shard
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for row in rows:
            for name, content in ((row.id + row.extension, row.data), (f"{row.id}.json", b"{}")):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))


def write_manifest(project: Project, snapshot: Snapshot) -> None:
    rows = [
        {
            "id": row.id,
            "split": row.split,
            "shard": shard,
            "key": row.id,
            "sha256": hashlib.sha256(row.data).hexdigest(),
            "label": row.label,
        }
        for shard, accepted in snapshot.items()
        for row in accepted
    ]
    project.validated.mkdir(parents=True, exist_ok=True)
    rows.sort(key=lambda row: str(row["id"]))
    pq.write_table(pa.Table.from_pylist(rows), project.validated / "manifest.parquet")


@pytest.fixture
def accept(project: Project) -> Accept:
    """Write a snapshot's archives and its validated manifest into the checkout."""

    def write(snapshot: Snapshot) -> Project:
        for shard, rows in snapshot.items():
            write_tar(project, shard, rows)
        write_manifest(project, snapshot)
        return project

    return write
