"""Accepted photographs to Lab shards: what is new is made, what stands is kept."""

import contextlib
import errno
import hashlib
import io
import itertools
import json
import operator
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chromaflow import console
from chromaflow.data.snapshot.manifest import read_validated
from chromaflow.data.snapshot.shards import stays_in_snapshot
from chromaflow.data.store import chunks, decode
from chromaflow.data.store.convert import ConversionOptions, Group, Photograph, ShardJob, convert
from chromaflow.data.store.read import INDEX, LABELS
from chromaflow.data.store.statistics import describe
from chromaflow.errors import DataError, SettingsError, UserError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.project.splits import SPLITS
from chromaflow.settings import Settings

_Index = dict[str, list[chunks.Chunk]]

STATISTICS = "statistics.json"
HISTOGRAM = "ab_histogram.npy"
_COLUMNS = ["split", "shard", "id", "key", "sha256", "label"]
_VALIDATE = "chromaflow validate"
# Another number rebuilds every shard: raise it when the same photograph must give other bytes.
_FORMAT = 3
_LARGEST_SHARD = 2**32 - 1
# A process that converts fewer pixels loses more by a table of all colors than it wins.
_WORTH_A_TABLE = 2**26
# A process takes as long to start as another needs for so many.
_WORTH_A_PROCESS = 2**25


@dataclass(frozen=True)
class _Group:
    """The photographs of one raw shard in one split: made, kept and removed together.

    Args:
        name: A digest of all that the group's bytes depend on: what bears it is never stale.
        table: The rows of the manifest, sorted by id.
    """

    split: str
    shard: str
    name: str
    table: Any


@dataclass(frozen=True)
class StoreSummary:
    """What is in `data/lab`.

    Args:
        images: How many each split holds.
        size: Shorter side of each, pixels.
        pixels: How many the training split holds.
        mean_ab: Mean a and b of these, CIE Lab units.
        mean_chroma: Mean distance of these from grey, CIE Lab units.
        decoded: How many photographs were decoded now; the others were there already.
    """

    images: dict[str, int]
    size: int
    pixels: int
    mean_ab: list[float]
    mean_chroma: float
    decoded: int


def write_store(
    project: Project, settings: Settings, progress: console.Progress = console.progress
) -> StoreSummary:
    """Write the Lab shards of the accepted photographs, one folder a split.

    Only the photographs of new raw shards are decoded; the chunks of the others are kept. The
    result is the same bytes whatever stood there before, also after a kill, and however many
    processes work.

    Args:
        project: The checkout; `data/validated/manifest.parquet` and `data/raw` are read,
            `data/lab` is written.
        settings: Its `preprocess`, `source.max_pixels` and `runtime.processes` count.
        progress: Shows how many photographs are decoded.

    Raises:
        DataError: The manifest, a raw shard or a photograph is missing, or not what the manifest
            says.
        SettingsError: `preprocess.shard_size` is too large for the format.
        ServerError: Another process preprocesses in this checkout.
        UserError: The disk is full, or a process was killed.
    """
    if settings.preprocess.shard_size > _LARGEST_SHARD:
        raise SettingsError("preprocess.shard_size must be below 4GiB.", "64MiB is a good size")
    groups = _read_groups(project, settings)
    try:
        with project.lock("preprocess"):
            return _write(project, settings, groups, progress)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        where = error.filename or "a shard"
        reason = "its disk is full" if full else f"{where}: {error.strerror}"
        raise UserError(
            f"{project.lab} cannot be written: {reason}.",
            "correct that and run chromaflow preprocess: finished shards are kept",
        ) from None


def _read_groups(project: Project, settings: Settings) -> list[_Group]:
    path = project.accepted_manifest
    table = read_validated(path, _COLUMNS)
    order = ["split", "shard"]
    counts = table.group_by(order).aggregate([([], "count_all")])
    table = table.sort_by([(name, "ascending") for name in [*order, "id"]])
    table = table.set_column(
        table.schema.get_field_index("label"), "label", table["label"].cast(pa.string())
    )
    groups: list[_Group] = []
    start = 0
    for row in counts.sort_by([(name, "ascending") for name in order]).to_pylist():
        rows = table.slice(start, row["count_all"])
        groups.append(_group(row["split"], row["shard"], rows, settings))
        start += row["count_all"]
    if not any(group.split == "train" for group in groups):
        raise DataError(
            f"{path} holds no photograph to train on.",
            f"add photographs or change split in params.yaml, then {_VALIDATE}",
        )
    return groups


def _group(split: str, shard: str, table: Any, settings: Settings) -> _Group:
    if split not in SPLITS or not stays_in_snapshot(shard):
        raise DataError(
            f"The validated manifest names a split {split!r} and a shard {shard!r}.",
            f"chromaflow ingest, then {_VALIDATE}",
        )
    depends = [
        _FORMAT,
        decode.versions(),
        settings.preprocess.model_dump(),
        table.select(["id", "sha256"]).to_pylist(),
    ]
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
    return _Group(split, shard, digest[:16], table)


def _write(
    project: Project, settings: Settings, groups: list[_Group], progress: console.Progress
) -> StoreSummary:
    stored = {
        (group.split, group.name): chunks.find(
            project.lab / group.split, group.name, len(group.table)
        )
        for group in groups
    }
    missing = [group for group in groups if stored[group.split, group.name] is None]
    decoded = sum(len(group.table) for group in missing)
    jobs = _jobs(project, missing)
    options, processes = _options(settings, decoded, len({group.shard for group in missing}))
    with (
        progress("Preprocessing", decoded) as advance,
        contextlib.closing(convert(jobs, options, processes)) as finished,
    ):
        for job, made in finished:
            for done, found in zip(job.groups, made, strict=True):
                stored[done.folder.name, done.name] = found
                advance(len(done.photographs))
    index: _Index = {split: [] for split in SPLITS}
    for group in groups:
        index[group.split] += stored[group.split, group.name] or []
    for split, found in index.items():
        chunks.write_index(project.lab / split, found, settings.preprocess.shard_size)
    _write_labels(project.lab, groups)
    statistics = _write_statistics(project, settings, index, groups)
    _remove_others(project.lab, index, groups)
    return StoreSummary(**statistics, decoded=decoded)


def _options(settings: Settings, photographs: int, shards: int) -> tuple[ConversionOptions, int]:
    """How to convert, and with how many processes."""
    size = settings.preprocess.size
    pixels = photographs * size**2
    processes = min(
        settings.runtime.processes or _processors(),
        max(shards, 1),
        pixels // _WORTH_A_PROCESS + 1,
    )
    options = ConversionOptions(
        size,
        settings.preprocess.shard_size,
        settings.source.max_pixels,
        table=pixels >= _WORTH_A_TABLE * processes,
    )
    return options, processes


def _jobs(project: Project, groups: Iterable[_Group]) -> Iterator[ShardJob]:
    """Each raw shard with all of its groups that are to be made."""
    by_shard = operator.attrgetter("shard")
    for shard, parts in itertools.groupby(sorted(groups, key=by_shard), by_shard):
        yield ShardJob(
            project.raw / shard,
            [
                Group(
                    project.lab / part.split,
                    part.name,
                    [
                        Photograph(row["id"], row["key"], row["sha256"])
                        for row in part.table.to_pylist()
                    ],
                )
                for part in parts
            ],
        )


def _processors() -> int:
    """The processors that this process may use, fewer than the machine's on a shared node."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _write_statistics(
    project: Project, settings: Settings, index: _Index, groups: Iterable[_Group]
) -> dict[str, Any]:
    histogram = np.zeros((256, 256), np.int64)
    for group in groups:
        if group.split == "train":
            histogram += chunks.read_colors(project.lab / "train", group.name)
    content = io.BytesIO()
    np.save(content, histogram, allow_pickle=False)
    files.write_bytes(project.lab / HISTOGRAM, content.getvalue())
    found = {
        "images": {
            split: sum(chunk["chunk_size"] for chunk in found) for split, found in index.items()
        },
        "size": settings.preprocess.size,
        **describe(histogram),
    }
    files.write_json(project.lab / STATISTICS, found)
    return found


def _write_labels(folder: Path, groups: Sequence[_Group]) -> None:
    """Write the labels of each split; they are not part of a group: none is rebuilt for them."""
    of_split = {
        split: pa.chunked_array(
            [c for g in groups if g.split == split for c in g.table["label"].chunks], pa.string()
        )
        for split in SPLITS
    }
    names = sorted(filter(None, pc.unique(of_split["train"]).to_pylist()))
    for split, labels in of_split.items():
        numbers = pc.fill_null(pc.index_in(labels, pa.array(names, pa.string())), -1)
        chunks.write_labels(folder / split, names, numbers.to_pylist())


def _remove_others(folder: Path, index: _Index, groups: Iterable[_Group]) -> None:
    """Remove what an earlier run left: chunks of other settings or images, unfinished files."""
    keep = {folder / name for name in (STATISTICS, HISTOGRAM, *SPLITS)}
    for group in groups:
        for name in (chunks.colors_name(group.name), chunks.list_name(group.name)):
            keep.add(folder / group.split / name)
    paths = list(folder.iterdir())
    for split, found in index.items():
        keep |= {folder / split / name for name in (INDEX, LABELS, *(c["filename"] for c in found))}
        paths += (folder / split).iterdir()
    for path in paths:
        if path not in keep:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
