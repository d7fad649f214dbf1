"""Make the raw snapshot: what is new goes into new shards, what is there is left as it is.

The manifest decides what the snapshot holds. New shards grow in a folder next to the snapshot; they
move in when all are there, the manifest is replaced in one step, and only then does anything go
that it no longer names. A killed ingest leaves the old snapshot, and the next one resumes from the
shards that were finished. Of a source on a server only what the snapshot does not hold is fetched,
a shard's worth at a time.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chromaflow import console
from chromaflow.data.ingest.inspect import Inspection, inspect
from chromaflow.data.ingest.prefetch import Fetcher
from chromaflow.data.ingest.previous import PreviousSnapshot, described
from chromaflow.data.snapshot.manifest import HISTORIC, read_manifest, to_table, write_manifest
from chromaflow.data.snapshot.shards import Member, StoredImages, write_shard
from chromaflow.data.sources.base import Record, Source, UnreadableError, image_id, open_source
from chromaflow.errors import DataError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.settings.sources import SOURCES

Row = dict[str, Any]


@dataclass(frozen=True)
class SnapshotCounts:
    """What an ingest made of the snapshot.

    Args:
        changed: Whether the manifest or a shard is new.
        source: Name of the source.
        images: How many images the snapshot holds.
        added: Of these, how many the last one did not hold. One whose bytes changed is not new.
        removed: Images of the last snapshot that left the source.
        undecodable: Images that cannot be read.
        skipped: Files of the source that are not images.
        shards: How many raw shards there are.
    """

    changed: bool
    source: str
    images: int
    added: int
    removed: int
    undecodable: int
    skipped: int
    shards: int


def _shards(table: pa.Table) -> list[str]:
    return sorted(table["shard"].unique().to_pylist())


class _Comparison:
    """Finds out which images a shard already holds and which are new.

    Args:
        source: Name of the source.
        previous: Rows of that source whose shards are there.
        stored: The images of these rows.
        fetcher: Fetches the images that are on a server.
        max_pixels: As `source.max_pixels`.
    """

    def __init__(
        self,
        source: str,
        previous: PreviousSnapshot,
        stored: StoredImages,
        fetcher: Fetcher,
        max_pixels: int,
    ) -> None:
        self._source = source
        self._previous = previous
        self._stored = stored
        self._fetcher = fetcher
        self._max_pixels = max_pixels

    def new_images(
        self, records: Iterable[Record], advance: Callable[[int], None]
    ) -> Iterator[tuple[Member, Row]]:
        """The images to write; those that a shard already holds are noted on the way."""
        for record, failure in self._fetcher.serve(self._missing(records, advance)):
            data, error = _read(record, failure)
            digest = hashlib.sha256(data).hexdigest()
            index = self._previous.find(record)
            if index >= 0 and self._previous.cell(index, "sha256") == digest:
                self._keep(index, record, data, error)
            else:
                yield self._describe(record, data, digest, error)
            advance(1)

    def _missing(
        self, records: Iterable[Record], advance: Callable[[int], None]
    ) -> Iterator[Record]:
        """The records whose bytes are needed to find out."""
        for record in records:
            index = self._previous.find(record)
            if not self._previous.holds(index, record):
                yield record
            elif self._previous.is_measured(index):
                self._previous.keep(index, record)
                advance(1)
            else:
                yield self._from_snapshot(index, record)

    def _from_snapshot(self, index: int, record: Record) -> Record:
        """The record of an image that is read from its shard instead of being fetched."""
        place = [self._previous.cell(index, name) for name in ("shard", "key", "sha256")]
        return replace(record, download=None, read=partial(self._stored.read, *place))

    def _inspect(self, data: bytes, error: str | None) -> Inspection:
        return Inspection(False, error=error) if error else inspect(data, self._max_pixels)

    def _keep(self, index: int, record: Record, data: bytes, error: str | None) -> None:
        """Take a row over, with the label, license and limit of pixels that hold now."""
        if self._previous.is_measured(index):
            self._previous.keep(index, record)
        else:
            self._previous.keep(index, record, self._inspect(data, error)._asdict())

    def _describe(
        self, record: Record, data: bytes, digest: str, error: str | None
    ) -> tuple[Member, Row]:
        key = image_id(self._source, record.url)
        description = described(record)
        facts = {
            "id": key,
            "source": self._source,
            "url": record.url,
            "label": description["label"],
            "license": description["license"],
            "sha256": digest,
        }
        measured = self._inspect(data, error)._asdict()
        row = {**facts, **description, "key": key, "bytes": len(data), **measured}
        return Member(key, record.extension, data, facts), row


def _read(record: Record, failure: str) -> tuple[bytes, str | None]:
    """The bytes of an image, or none and the reason."""
    if failure:
        return b"", failure
    try:
        return record.read(), None
    except UnreadableError as reason:
        return b"", str(reason)


def _staging_folders(raw: Path) -> list[Path]:
    return sorted(raw.parent.glob(f".{raw.name}.*.partial"))


def _open_staging(project: Project, settings: Settings) -> Path:
    """The folder for unfinished shards of just this source, these settings and this manifest."""
    raw, manifest = project.raw, project.raw_manifest
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


def _rows_with_shards(project: Project, staging: Path, source: str) -> pa.Table:
    """Rows of a source whose shards are in the snapshot, or were finished before a kill."""
    tables = [read_manifest(project.raw_manifest)]
    tables += [read_manifest(path) for path in sorted((staging / source).glob("[0-9]*.parquet"))]
    table = pa.concat_tables(tables).combine_chunks()
    present = [
        shard
        for shard in _shards(table)
        if re.fullmatch(rf"{source}/\d{{6,}}\.tar", shard)
        and ((project.raw / shard).is_file() or (staging / shard).is_file())
    ]
    return table.filter(pc.is_in(table["shard"], pa.array(present, pa.string())))


def _stage(
    images: Iterator[tuple[Member, Row]],
    folder: Path,
    known: pa.Table,
    size: int,
    fetcher: Fetcher,
) -> list[pa.Table]:
    """Write new images into new shards, and next to each finished one its rows."""
    numbers = [int(Path(shard).stem) for shard in _shards(known)]
    tables = []
    for number, first in zip(itertools.count(max(numbers, default=-1) + 1), images):
        chunk = itertools.chain([first], itertools.islice(images, size - 1))
        name = f"{number:06d}"
        rows: list[Row] = []
        write_shard(folder / f"{name}.tar", _noting(chunk, rows))
        shard = f"{folder.name}/{name}.tar"
        tables.append(to_table([{**row, "shard": shard} for row in rows]))
        write_manifest(folder / f"{name}.parquet", tables[-1])
        fetcher.release(row["url"] for row in rows)
    return tables


def _noting(images: Iterable[tuple[Member, Row]], rows: list[Row]) -> Iterator[Member]:
    for member, row in images:
        rows.append(row)
        yield member


def _commit(project: Project, staging: Path, old: pa.Table, table: pa.Table) -> bool:
    """Move finished shards into the snapshot, then make them part of it; whether there was need."""
    names = [name for name in _shards(table) if (staging / name).exists()]
    if not names and table.equals(old):
        return False
    for name in names:
        (project.raw / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(project.raw / name)
    for folder in {(project.raw / name).parent for name in names}:
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    write_manifest(project.raw_manifest, table)
    return True


def _sweep(project: Project, table: pa.Table) -> None:
    """Remove what ingests wrote and the manifest does not name; nothing else is touched."""
    used, raw = set(_shards(table)), project.raw
    for source in (*SOURCES, HISTORIC):
        for path in (raw / source).glob("*.tar"):
            if re.fullmatch(r"\d{6,}\.tar", path.name) and f"{source}/{path.name}" not in used:
                path.unlink()
        with contextlib.suppress(OSError):
            (raw / source).rmdir()
    for path in raw.glob(f".{project.raw_manifest.name}.*.partial"):
        path.unlink()
    for folder in _staging_folders(raw):
        shutil.rmtree(folder)


def _open_sources(project: Project, settings: Settings) -> dict[str, Source]:
    """The source that the settings name, and the historic photographs where they name some."""
    names = [settings.source.name, *([HISTORIC] if settings.source.historic else [])]
    return {name: open_source(name, project, settings) for name in names}


def _collect(
    project: Project,
    settings: Settings,
    staging: Path,
    name: str,
    records: Iterable[Record],
    advance: Callable[[int], None],
) -> list[pa.Table]:
    """The rows of one source, after its new images were staged."""
    rows = _rows_with_shards(project, staging, name)
    previous = PreviousSnapshot(name, rows, settings.source.max_pixels)
    fetcher = Fetcher(project, settings, name)
    with StoredImages(project.raw, staging) as stored:
        comparison = _Comparison(name, previous, stored, fetcher, settings.source.max_pixels)
        images = comparison.new_images(records, advance)
        staged = _stage(images, staging / name, rows, settings.source.shard_images, fetcher)
    fetcher.close()
    return [previous.kept_rows(), *staged]


def _renew(
    project: Project, settings: Settings, sources: dict[str, Source], progress: console.Progress
) -> SnapshotCounts:
    old = read_manifest(project.raw_manifest)
    staging = _open_staging(project, settings)
    tables = []
    with progress("Reading", sum(source.total for source in sources.values())) as advance:
        for name, source in sources.items():
            tables += _collect(project, settings, staging, name, source.records(), advance)
    table = pa.concat_tables(tables).sort_by("id")
    changed = _commit(project, staging, old, table)
    _sweep(project, table)
    return SnapshotCounts(
        changed=changed,
        source=settings.source.name,
        images=len(table),
        added=_count_others(table["id"], old["id"]),
        removed=_count_others(old["id"], table["id"]),
        undecodable=pc.sum(pc.invert(table["decodes"])).as_py() or 0,
        skipped=sum(source.skipped for source in sources.values()),
        shards=len(_shards(table)),
    )


def _count_others(ids: pa.ChunkedArray, known: pa.ChunkedArray) -> int:
    """How many ids are not known."""
    return int(pc.sum(pc.invert(pc.is_in(ids, known.combine_chunks()))).as_py() or 0)


def build_snapshot(
    project: Project, settings: Settings, progress: console.Progress = console.progress
) -> SnapshotCounts:
    """Bring `data/raw` up to date with the source that the settings name.

    Images that the snapshot holds stay in their shards, new ones make new shards, images that left
    the source leave the manifest. Another source replaces the snapshot. The photographs of
    `source.historic` stand beside it, in shards of their own. The images pass through memory one at
    a time; only the table is held whole.

    What a server refuses becomes a row that does not decode and says why; the next ingest tries it
    again.

    Args:
        project: The checkout.
        settings: `source` is used.
        progress: Shows how far the reading is.

    Raises:
        DataError: The source cannot be used, or the disk is full.
        ServerError: Another ingest is running.
    """
    with project.lock("ingest"):
        sources = _open_sources(project, settings)
        try:
            return _renew(project, settings, sources, progress)
        except OSError as error:
            raise DataError(
                f"{error.filename or project.raw}: {error.strerror or error}",
                "make room or change the permissions, then run the command again: it resumes",
            ) from None
