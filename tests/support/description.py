"""A small snapshot as ingest and validate leave it: two shards, seven images, two refused."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from skimage import data

from chromaflow.data.snapshot.manifest import KINDS, SCHEMA
from chromaflow.project.paths import Project
from tests.support.manifests import report

Row = dict[str, Any]
"""A row of a manifest, by the names of its columns."""
Tables = tuple[list[Row], list[Row]]
"""The accepted and the refused rows."""

SPLITS = ("train", "train", "train", "validation", "test")
MD5 = "17a58f324b9ae648ba37335256c7e1f6.dir"


def encode(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def pictures() -> list[tuple[str, bytes, str]]:
    """Label, bytes and extension."""
    cat, coffee = data.chelsea(), data.coffee()
    tiles = [("cat", cat[y : y + 200, x : x + 100]) for x, y in ((0, 0), (100, 50), (200, 90))]
    tiles += [("coffee", coffee[:300, :300]), ("coffee", coffee[100:400, 300:600])]
    found = [(label, encode(tile, "PNG"), ".png") for label, tile in tiles[:2]]
    found += [(label, encode(tile, "JPEG"), ".jpg") for label, tile in tiles[2:]]
    grey = np.full((80, 80, 3), 90, np.uint8)
    return [*found, ("cat", encode(grey, "PNG"), ".png"), ("cat", b"no picture", ".jpg")]


def row(index: int, label: str, content: bytes, shard: str, **changes: object) -> Row:
    width, height = (300, 300) if label == "coffee" else (100, 200)
    good = {
        "id": f"{(index * 7) % 11:016x}",
        "source": "sample",
        "url": f"skimage:{label}.png#{index}",
        "label": label,
        "license": "CC0 (somebody)" if label == "cat" else "CC BY 4.0",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "width": width,
        "height": height,
        "decodes": True,
        "mean_chroma": 12.5 + index,
        "chroma_spread": 6.25,
        "mean_a": 5.0,
        "mean_b": -5.0,
        "luma_spread": 20.0,
        "free_chroma": 4.0,
        "phash": f"{index:016x}",
        "shard": shard,
        "key": f"{(index * 7) % 11:016x}",
        "error": None,
        "split_hint": None,
    }
    return {**good, **changes}


def write_shard(path: Path, members: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def write_tables(project: Project, accepted: list[Row], refused: list[Row]) -> None:
    project.validated.mkdir(parents=True, exist_ok=True)
    for name, rows_of_kind in (("images", accepted), ("quarantine", refused)):
        kind = KINDS[name]
        table = pa.Table.from_pylist(rows_of_kind, schema=kind.schema).sort_by("id")
        pq.write_table(table, project.validated / kind.file)
    raw = [{name: found[name] for name in SCHEMA.names} for found in accepted + refused]
    project.raw.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(raw, schema=SCHEMA), project.raw / "manifest.parquet")
    splits = [found["split"] for found in accepted]
    found = report(
        rows=len(accepted) + len(refused),
        accepted=len(accepted),
        quarantined=len(refused),
        reasons={"min_chroma": 1, "decodes": 1} if refused else {},
        splits={name: splits.count(name) for name in ("train", "validation", "test")},
        expectations=[
            {"name": "unique_ids", "column": "id", "success": True, "unexpected": 0},
            {"name": "min_images", "column": "", "success": True, "unexpected": 0},
            {"name": "min_chroma", "column": "mean_chroma", "success": False, "unexpected": 1},
        ],
    )
    (project.validated / "validation.json").write_text(json.dumps(found))


@pytest.fixture
def rows() -> Tables:
    """The accepted and the refused rows."""
    found = []
    for index, (label, content, _) in enumerate(pictures()):
        found.append(row(index, label, content, f"sample/{index // 4:06d}.tar"))
    accepted = [
        {**entry, "group": entry["label"], "split": split}
        for entry, split in zip(found[:5], SPLITS, strict=True)
    ]
    why = {"reasons": ["grey: mean chroma 0"], "rules": ["min_chroma"]}
    grey = {**found[5], "mean_chroma": 0.0, **why}
    broken = dict.fromkeys(("width", "height", "mean_chroma", "chroma_spread", "phash"))
    reasons = ["does not decode: it is <no> picture"]
    lost = {**found[6], **broken, "decodes": False, "error": "it is <no> picture", "license": None}
    return accepted, [grey, {**lost, "reasons": reasons, "rules": ["decodes"]}]


@pytest.fixture
def checkout(project: Project, rows: Tables) -> Project:
    """A checkout with the snapshot."""
    accepted, refused = rows
    shards: dict[str, list[tuple[str, bytes]]] = {}
    for entry, (_, content, extension) in zip(accepted + refused, pictures(), strict=True):
        members = shards.setdefault(entry["shard"], [])
        facts = json.dumps({"url": entry["url"]}).encode()
        members += [(entry["key"] + extension, content), (entry["key"] + ".json", facts)]
    for name, members in shards.items():
        write_shard(project.raw / name, members)
    write_tables(project, accepted, refused)
    record = {"outs": [{"path": "data/raw", "hash": "md5", "md5": MD5}]}
    project.raw_record.write_text(yaml.safe_dump(record))
    return project
