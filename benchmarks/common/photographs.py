"""Photographs of a folder or of scikit-image's package, and checkouts that hold them."""

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from skimage import data

from chromaflow.data.snapshot.shards import Member, write_shard
from chromaflow.project.paths import Project

_PHOTOGRAPHS = ("astronaut", "coffee", "rocket", "retina", "immunohistochemistry")
_SHARD = 256


def photographs(images: Path | None, folder: Path, count: int) -> list[Path]:
    """JPEG files of a folder, or tiles of 500×375 cut from scikit-image's photographs."""
    if images is not None:
        found = sorted(p for p in images.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
        return found[:count]
    folder.mkdir()
    random = np.random.default_rng(0)
    sources = [getattr(data, name)() for name in _PHOTOGRAPHS]
    for number in range(count):
        photograph = sources[number % len(sources)]
        top = random.integers(photograph.shape[0] - 374)
        left = random.integers(photograph.shape[1] - 499)
        tile = photograph[top : top + 375, left : left + 500]
        Image.fromarray(tile).save(folder / f"{number:06d}.jpg", quality=95)
    return sorted(folder.iterdir())


def repeated(paths: list[Path], count: int) -> list[Path]:
    """So many of them, again from the first where there are fewer."""
    return list(itertools.islice(itertools.cycle(paths), count))


def make_project(root: Path, paths: Sequence[Path], first: int = 0) -> Project:
    """A checkout whose accepted photographs all train; called again, it gets more of them."""
    project = Project(root)
    manifest = project.validated / "manifest.parquet"
    rows = pq.read_table(manifest).to_pylist() if manifest.exists() else []
    for start in range(0, len(paths), _SHARD):
        shard, members = f"folder/{first + start:06d}.tar", []
        for number, path in enumerate(paths[start : start + _SHARD], first + start):
            content, key = path.read_bytes(), f"{number:06d}"
            digest = hashlib.sha256(content).hexdigest()
            place = {"split": "train", "shard": shard, "label": ""}
            rows.append({"id": key, "key": key, "sha256": digest, **place})
            members.append(Member(key, path.suffix.lower(), content, {"id": key}))
        write_shard(project.raw / shard, members)
    project.validated.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), manifest)
    return project
