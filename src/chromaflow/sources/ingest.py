"""Make the raw snapshot: what is new goes into new shards, what stands is left alone.

The manifest decides what the snapshot holds. New shards grow in a folder beside the snapshot; they
move in when all are there, the manifest is replaced in one step, and only then does anything go
that it no longer names. A killed ingest leaves the old snapshot, and the next one goes on from the
shards that were finished.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chromaflow import console, files
from chromaflow.errors import DataError
from chromaflow.project import Project
from chromaflow.settings import Settings
from chromaflow.sources.base import Record, Source, UnreadableError, image_id
from chromaflow.sources.cvcl import Cvcl
from chromaflow.sources.folder import Folder
from chromaflow.sources.inspect import Inspection, inspect
from chromaflow.sources.manifest import NAME, read_manifest, to_table, write_manifest
from chromaflow.sources.sample import Sample
from chromaflow.sources.shards import Member, write_shard

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
Row = dict[str, Any]

SOURCES: dict[str, Callable[[Project, Settings], Source]] = {
    "sample": Sample,
    "folder": Folder,
    "cvcl": Cvcl,
}


def _shards(table: pa.Table) -> list[str]:
    return sorted(table["shard"].unique().to_pylist())


class _Comparison:
    """Tells images that a shard already holds from new ones.

    Args:
        source: Name of the source.
        known: Rows of that source whose shards are there.
        max_pixels: As `source.max_pixels`.
    """

    def __init__(self, source: str, known: pa.Table, max_pixels: int) -> None:
        self._source = source
        self._known = known
        self._max_pixels = max_pixels
        self._digests = known["sha256"].to_pylist()
        self._index = {url: index for index, url in enumerate(known["url"].to_pylist())}
        self._kept: list[int] = []
        self._amended: list[Row] = []

    def new_images(
        self, records: Iterable[Record], advance: Callable[[int], None]
    ) -> Iterator[tuple[Member, Row]]:
        """The images to write; those that stand are noted on the way."""
        for record in records:
            try:
                data, error = record.read(), None
            except UnreadableError as reason:
                data, error = b"", str(reason)
            digest = hashlib.sha256(data).hexdigest()
            index = self._index.get(record.url, -1)
            if index >= 0 and self._digests[index] == digest:
                self._keep(index, record, data, error)
            else:
                yield self._describe(record, data, digest, error)
            advance(1)

    def _inspect(self, data: bytes, error: str | None) -> Inspection:
        return Inspection(False, error=error) if error else inspect(data, self._max_pixels)

    def _keep(self, index: int, record: Record, data: bytes, error: str | None) -> None:
        """Take a row over, with the label, license and limit of pixels that hold now."""
        row: Row = self._known.slice(index, 1).to_pylist()[0]
        new = {**row, "label": record.label, "license": record.license or None}
        if not row["decodes"] or row["width"] * row["height"] > self._max_pixels:
            new |= self._inspect(data, error)._asdict()
        if new == row:
            self._kept.append(index)
        else:
            self._amended.append(new)

    def _describe(
        self, record: Record, data: bytes, digest: str, error: str | None
    ) -> tuple[Member, Row]:
        key = image_id(self._source, record.url)
        facts = {
            "id": key,
            "source": self._source,
            "url": record.url,
            "label": record.label,
            "license": record.license or None,
            "sha256": digest,
        }
        row = {**facts, "key": key, "bytes": len(data), **self._inspect(data, error)._asdict()}
        return Member(key, record.extension, data, facts), row

    def standing(self) -> pa.Table:
        """Rows of the images that were in a shard already."""
        return pa.concat_tables(
            [self._known.take(pa.array(self._kept, pa.int64())), to_table(self._amended)]
        )


def _staging_folders(raw: Path) -> list[Path]:
    return sorted(raw.parent.glob(f".{raw.name}.*.partial"))


def _open_staging(raw: Path, settings: Settings) -> Path:
    """The folder for unfinished shards of just this source, these settings and this manifest."""
    manifest = raw / NAME
    basis = [
        settings.source.model_dump(mode="json"),
        files.sha256_of(manifest) if manifest.exists() else "",
    ]
    name = hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:16]
    staging = raw.with_name(f".{raw.name}.{name}.partial")
    for folder in _staging_folders(raw):
        if folder != staging:
            shutil.rmtree(folder)
    staging.mkdir(parents=True, exist_ok=True)
    return staging


def _known(raw: Path, staging: Path, source: str) -> pa.Table:
    """Rows of a source whose shards are in the snapshot, or were finished before a kill."""
    tables = [read_manifest(raw / NAME)]
    tables += [read_manifest(path) for path in sorted(staging.glob("[0-9]*.parquet"))]
    table = pa.concat_tables(tables).combine_chunks()
    present = [
        shard
        for shard in _shards(table)
        if re.fullmatch(rf"{source}/\d{{6,}}\.tar", shard)
        and ((raw / shard).is_file() or (staging / Path(shard).name).is_file())
    ]
    return table.filter(pc.is_in(table["shard"], pa.array(present, pa.string())))


def _stage(
    images: Iterator[tuple[Member, Row]], staging: Path, known: pa.Table, settings: Settings
) -> list[pa.Table]:
    """Write new images into new shards, and beside each finished one its rows."""
    numbers = [int(Path(shard).stem) for shard in _shards(known)]
    tables = []
    for number, first in zip(itertools.count(max(numbers, default=-1) + 1), images):
        chunk = itertools.chain([first], itertools.islice(images, settings.source.shard_images - 1))
        name = f"{number:06d}"
        rows: list[Row] = []
        write_shard(staging / f"{name}.tar", _noting(chunk, rows))
        shard = f"{settings.source.name}/{name}.tar"
        tables.append(to_table([{**row, "shard": shard} for row in rows]))
        write_manifest(staging / f"{name}.parquet", tables[-1])
    return tables


def _noting(images: Iterable[tuple[Member, Row]], rows: list[Row]) -> Iterator[Member]:
    for member, row in images:
        rows.append(row)
        yield member


def _commit(raw: Path, staging: Path, old: pa.Table, table: pa.Table) -> bool:
    """Move finished shards into the snapshot, then make them part of it; whether there was need."""
    names = [name for name in _shards(table) if (staging / Path(name).name).exists()]
    if not names and table.equals(old):
        return False
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / Path(name).name).replace(raw / name)
    for folder in {(raw / name).parent for name in names}:
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    write_manifest(raw / NAME, table)
    return True


def _sweep(raw: Path, table: pa.Table) -> None:
    """Remove what ingests wrote and the manifest does not name; nothing else is touched."""
    used = set(_shards(table))
    for source in SOURCES:
        for path in (raw / source).glob("*.tar"):
            if re.fullmatch(r"\d{6,}\.tar", path.name) and f"{source}/{path.name}" not in used:
                path.unlink()
        with contextlib.suppress(OSError):
            (raw / source).rmdir()
    for path in raw.glob(f".{NAME}.*.partial"):
        path.unlink()
    for folder in _staging_folders(raw):
        shutil.rmtree(folder)


def _renew(
    project: Project, settings: Settings, source: Source, progress: Progress
) -> dict[str, Any]:
    raw = project.raw
    old = read_manifest(raw / NAME)
    staging = _open_staging(raw, settings)
    known = _known(raw, staging, settings.source.name)
    comparison = _Comparison(settings.source.name, known, settings.source.max_pixels)
    with progress("Reading", source.total) as advance:
        images = comparison.new_images(source.records(), advance)
        staged = _stage(images, staging, known, settings)
    table = pa.concat_tables([comparison.standing(), *staged]).sort_by("id")
    changed = _commit(raw, staging, old, table)
    _sweep(raw, table)
    before, after = set(old["id"].to_pylist()), set(table["id"].to_pylist())
    return {
        "changed": changed,
        "source": settings.source.name,
        "images": len(table),
        "added": len(after - before),
        "removed": len(before - after),
        "undecodable": table["decodes"].to_pylist().count(False),
        "skipped": source.skipped,
        "shards": len(_shards(table)),
    }


def ingest(
    project: Project, settings: Settings, progress: Progress = console.progress
) -> dict[str, Any]:
    """Bring `data/raw` up to date with the source that the settings name.

    Images that the snapshot holds stay in their shards, new ones make new shards, images that left
    the source leave the manifest. Another source replaces the snapshot. The images pass through
    memory one at a time; only the table is held whole.

    Args:
        project: The checkout.
        settings: `source` is used.
        progress: Shows how far the reading is.

    Returns:
        `changed`, `source`, `images`, `added`, `removed`, `undecodable`, `skipped` (files that are
        no images), `shards`. An image whose bytes changed is neither added nor removed.

    Raises:
        DataError: The source cannot be used, or the disk is full.
        ServerError: Another ingest is at work.
    """
    with project.alone("ingest"):
        source = SOURCES[settings.source.name](project, settings)
        try:
            return _renew(project, settings, source, progress)
        except OSError as error:
            raise DataError(
                f"{error.filename or project.raw}: {error.strerror or error}",
                "make room or mend the permissions, then run the command again: it goes on",
            ) from None
