"""An accepted snapshot as it lies on disk: its tables, its digests, its shards."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chromaflow.data.snapshot.manifest import KINDS, photographs_of, read_validated
from chromaflow.data.snapshot.shards import stays_in_snapshot
from chromaflow.data.snapshot.validation import ValidationReport
from chromaflow.errors import DataError
from chromaflow.project import dvc, files
from chromaflow.project.paths import Project

_RESTORE = "dvc checkout data.dvc --force"
_OPTIONAL = ("historic", "unused")


@dataclass(frozen=True)
class File:
    """A file of the snapshot.

    Args:
        path: Where it is.
        size: In bytes.
        sha256: Hexadecimal.
    """

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Part:
    """A table of the snapshot: its file, its rows sorted by id, and what it holds in words."""

    file: File
    table: pa.Table
    meaning: str


@dataclass(frozen=True)
class Snapshot:
    """What ingest and validation left.

    Args:
        parts: The tables in `data/validated`: `images` and `quarantine`, and where they exist
            `historic` and `unused`.
        validation: What the validation counted.
        raw_md5: By which DVC knows `data/raw`; empty where it is not recorded.
        raw_manifest: SHA-256 of the raw manifest.
        shards: The raw shards, by their names relative to `data/raw`.
    """

    parts: Mapping[str, Part]
    validation: ValidationReport
    raw_md5: str
    raw_manifest: str
    shards: Mapping[str, File]

    @property
    def accepted(self) -> pa.Table:
        """The images that train, validate and test."""
        return self.parts["images"].table

    @property
    def refused(self) -> pa.Table:
        """The images in quarantine, with `reasons`."""
        return self.parts["quarantine"].table

    @property
    def manifest(self) -> File:
        """The file of the accepted images."""
        return self.parts["images"].file

    def every(self, *columns: str) -> pa.Table:
        """Some columns of the rows of all tables."""
        return pa.concat_tables([part.table.select(columns) for part in self.parts.values()])

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which names SHA-256 and split of every accepted image."""
        return self.manifest.sha256


def read_snapshot(project: Project) -> Snapshot:
    """Read what is on disk; only new shards are hashed.

    Raises:
        DataError: A table or a shard is missing or not what it should be.
    """
    parts = {}
    for name, kind in KINDS.items():
        path = project.validated / kind.file
        if name not in _OPTIONAL or path.is_file():
            table = read_validated(path, kind.schema.names)
            parts[name] = Part(_hashed(path), table.sort_by("id"), kind.meaning)
    if not len(parts["images"].table):
        raise DataError(f"{project.accepted_manifest} holds no image.", "chromaflow validate")
    if not project.raw_manifest.is_file():
        raise DataError(f"there is no {project.raw_manifest}.", "chromaflow ingest")
    names = {name for part in parts.values() for name in part.table["shard"].unique().to_pylist()}
    return Snapshot(
        parts=parts,
        validation=ValidationReport.read(project.validation_report),
        raw_md5=dvc.snapshot_digest(project),
        raw_manifest=files.sha256_of(project.raw_manifest),
        shards=_shards(project, sorted(names)),
    )


def _hashed(path: Path) -> File:
    return File(path, path.stat().st_size, files.sha256_of(path))


def _shards(project: Project, names: Iterable[str]) -> dict[str, File]:
    """The shards with their SHA-256, which is computed once as long as a file stays untouched.

    DVC knows MD5 only, and a large snapshot takes minutes to read; shards never change, so what
    was hashed before is kept by size and time of change, as DVC itself does.
    """
    store = project.state / "shards.sha256.json"
    known = _read_known(store)
    found: dict[str, File] = {}
    marks: dict[str, list[Any]] = {}
    for name in names:
        if not stays_in_snapshot(name):
            raise DataError(f"the validated manifest names a shard {name!r}.", "chromaflow ingest")
        place = project.raw / name
        try:
            status = place.stat()
            mark = [status.st_size, status.st_mtime_ns, status.st_ino]
            old = known.get(name, [])
            digest = old[-1] if old[:-1] == mark else files.sha256_of(place)
        except OSError as error:
            raise DataError(f"{place} cannot be read: {error.strerror}.", _RESTORE) from None
        found[name] = File(place, status.st_size, digest)
        marks[name] = [*mark, digest]
    if marks != known:
        files.write_json(store, marks)
    return found


def _read_known(store: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: mark for name, mark in known.items() if isinstance(mark, list)}


def counts(table: pa.Table, column: str) -> list[tuple[str, int]]:
    """How often each value of a column stands there, the most common first; null counts as "".

    Args:
        table: Any rows.
        column: Of texts.
    """
    values = pc.fill_null(table[column].cast(pa.string()), "")
    found = pc.value_counts(values).to_pylist()
    return sorted(((v["values"], v["counts"]) for v in found), key=lambda pair: (-pair[1], pair[0]))


def photographs(table: pa.Table) -> int:
    """Of how many photographs the rows are parts."""
    return int(pc.count_distinct(photographs_of(table["url"])).as_py())


def select(table: pa.Table, column: str, value: str) -> pa.Table:
    """The rows that have a value in a column."""
    return table.filter(pc.equal(pc.fill_null(table[column].cast(pa.string()), ""), value))


def common_address(table: pa.Table) -> str:
    """What the urls of all rows begin with, up to the last `/` or `:`; no password, no query."""
    if not len(table):
        return ""
    ends = pc.min_max(table["url"]).as_py().values()
    public = [re.sub(r"(?<=://)[^/]*@", "", url).partition("?")[0] for url in ends]
    # Character by character: what stands before the colon of an address is not a folder.
    prefix = os.path.commonprefix(public)  # noqa: RUF071
    prefix = prefix[: max(prefix.rfind("/"), prefix.rfind(":")) + 1]
    return "" if prefix.endswith("://") else prefix
