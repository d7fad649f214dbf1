"""Snapshots of a folder of photographs, and what holds for each."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image
from skimage import data

from chromaflow.data.snapshot.shards import Member
from chromaflow.project.paths import Project
from chromaflow.settings import Settings


def picture(index: int) -> bytes:
    """A piece of the coffee photograph, another one for each index."""
    corner = 40 * (index % 9), 60 * (index // 9)
    square = data.coffee()[corner[0] : corner[0] + 72, corner[1] : corner[1] + 96]
    buffer = io.BytesIO()
    Image.fromarray(square).save(buffer, "PNG")
    return buffer.getvalue()


def settings_of(folder: Path, **source: object) -> Settings:
    values = {"name": "folder", "folder": str(folder), "shard_images": 4, **source}
    return Settings.model_validate({"source": values})


def rows(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(project.raw / "manifest.parquet").to_pylist()
    return found


def states(project: Project) -> dict[str, tuple[int, int]]:
    """Inode and time of every file of the snapshot."""
    return {
        path.relative_to(project.raw).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in project.raw.rglob("*")
        if path.is_file()
    }


def members_of(path: Path) -> list[Member]:
    """The images of a shard in stored order, each followed by its JSON."""
    with tarfile.open(path, "r:") as archive:
        members = [(header.name, archive.extractfile(header)) for header in archive]
        contents = {name: file.read() for name, file in members if file is not None}
    names = list(contents)
    found = []
    for image, facts in zip(names[::2], names[1::2], strict=True):
        key, dot, extension = image.partition(".")
        assert facts == f"{key}.json"
        found.append(Member(key, dot + extension, contents[image], json.loads(contents[facts])))
    return found


def assert_consistent(project: Project) -> None:
    """The manifest and the shards tell the same, and nothing else lies about."""
    stored = {}
    for path in project.raw.glob("*/*.tar"):
        for member in members_of(path):
            stored[path.relative_to(project.raw).as_posix(), member.key] = member
    for row in rows(project):
        member = stored[row["shard"], row["key"]]
        assert hashlib.sha256(member.data).hexdigest() == row["sha256"] == member.facts["sha256"]
        assert len(member.data) == row["bytes"]
        assert (member.facts["id"], member.facts["url"]) == (row["id"], row["url"])
    used = {row["shard"] for row in rows(project)} | {"manifest.parquet"}
    assert set(states(project)) == used
    assert [path.name for path in project.raw.parent.iterdir()] == ["raw"]
