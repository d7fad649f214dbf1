"""Manifests for the tests of the validation: good rows, changed where a test needs it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chromaflow.data.snapshot.manifest import SCHEMA
from chromaflow.project.paths import Project

Row = dict[str, Any]
"""A row of the manifest, by the names of its columns."""

MEASURES = (
    *("width", "height", "mean_chroma", "chroma_spread", "mean_a", "mean_b", "luma_spread"),
    *("free_chroma", "phash"),
)


def row(index: int, **changes: object) -> Row:
    rng = np.random.default_rng(index)
    good = {
        "id": f"{index:016x}",
        "source": "folder",
        "url": f"folder:{index}.jpg",
        "label": "",
        "license": "CC0",
        "sha256": f"{index:064x}",
        "bytes": 1000,
        "width": 300,
        "height": 200,
        "decodes": True,
        "mean_chroma": 20.0,
        "chroma_spread": 9.0,
        "mean_a": 5.0,
        "mean_b": -5.0,
        "luma_spread": 20.0,
        "free_chroma": 10.0,
        "phash": f"{int(rng.integers(0, 2**63)):016x}",
        "shard": f"folder/{index // 10:06d}.tar",
        "key": f"{index:016x}",
        "error": None,
        "split_hint": None,
    }
    return {**good, **changes}


def rows(count: int, **changes: object) -> list[Row]:
    return [row(index, **changes) for index in range(1, count + 1)]


def write(project: Project, entries: Sequence[Row]) -> None:
    project.raw.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(entries), schema=SCHEMA)
    pq.write_table(table.sort_by("id"), project.raw / "manifest.parquet")


def rows_of(path: Path) -> dict[str, Row]:
    return {found["id"]: found for found in pq.read_table(path).to_pylist()}


def report(**changes: object) -> dict[str, Any]:
    """What `validation.json` holds of a small snapshot."""
    good = {
        "success": True,
        "rows": 3,
        "accepted": 2,
        "quarantined": 1,
        "historic": 0,
        "unused": 0,
        "reasons": {"unique": 1},
        "splits": {"train": 2},
        "labels": {"": {"train": 2}},
        "mean_chroma": {"edges": [0.0, 5.0], "mean_chroma": [1, 1]},
        "releases": {"held": 0, "void": 0},
        "expectations": [],
    }
    return {**good, **changes}
