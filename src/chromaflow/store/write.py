"""Accepted photographs to Lab shards: what is new is made, what stands is kept."""

import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
import shutil
import tarfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow.parquet as pq

from chromaflow import console, files
from chromaflow.errors import DataError, SettingsError, UserError
from chromaflow.project import SPLITS, Project
from chromaflow.settings import Settings
from chromaflow.store import chunks, decode, statistics
from chromaflow.store.read import INDEX, LabItem

Progress = Callable[[str, int | None], AbstractContextManager[console.Advance]]

_Index = dict[str, list[chunks.Chunk]]

STATISTICS = "statistics.json"
HISTOGRAM = "ab_histogram.npy"
_COLUMNS = ["split", "shard", "id", "key", "sha256"]
_VALIDATE = "run chromaflow validate"
_RESTORE = "dvc checkout data.dvc --force, then chromaflow preprocess"
# Another number makes every shard anew: raise it when the same photograph shall give other bytes.
_FORMAT = 3
_LARGEST_SHARD = 2**32 - 1
# With fewer pixels than there are colors, a table of all colors costs more than it saves.
_WORTH_A_TABLE = 2**24
# Photographs in memory for each thread: enough to go on while a chunk is handed to the disk.
_AHEAD = 4


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


class _Photograph(NamedTuple):
    id: str
    sha256: str
    place: str
    data: bytes


def preprocess(
    project: Project, settings: Settings, progress: Progress = console.progress
) -> dict[str, Any]:
    """Write the Lab shards of the accepted photographs, one folder a split.

    Only the photographs of new raw shards are decoded; the chunks of the others are kept. The
    result is the same bytes whatever stood there before, also after a kill.

    Args:
        project: The checkout; `data/validated/manifest.parquet` and `data/raw` are read,
            `data/lab` is written.
        settings: Its `preprocess` and `source.max_pixels` count.
        progress: Shows how many photographs are decoded.

    Returns:
        What stands in `data/lab/statistics.json`: `images` by split, `size`, and of the training
        split `pixels`, `mean_ab` and `mean_chroma`; besides, `decoded`: how many photographs
        were decoded now.

    Raises:
        DataError: The manifest, a raw shard or a photograph is missing, or not what the manifest
            says.
        SettingsError: `preprocess.shard_size` is too large for the format.
        UserError: The disk is full.
    """
    if settings.preprocess.shard_size > _LARGEST_SHARD:
        raise SettingsError("preprocess.shard_size must be below 4GiB.", "64MiB is a good size")
    groups = _read_groups(project, settings)
    # OpenCV's threads would compete with those that decode.
    cv2.setNumThreads(1)
    try:
        return _write(project, settings, groups, progress)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        where = error.filename or "a shard"
        reason = "its disk is full" if full else f"{where}: {error.strerror}"
        raise UserError(
            f"{project.lab} cannot be written: {reason}.",
            "mend that and run chromaflow preprocess: finished shards are kept",
        ) from None


def _read_groups(project: Project, settings: Settings) -> list[_Group]:
    path = project.validated / "manifest.parquet"
    try:
        table = pq.read_table(path, columns=_COLUMNS)
        order = ["split", "shard"]
        counts = table.group_by(order).aggregate([([], "count_all")])
        table = table.sort_by([(name, "ascending") for name in [*order, "id"]])
    except FileNotFoundError:
        raise DataError(f"{path} is missing.", _VALIDATE) from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error}", _VALIDATE) from None
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
    path = PurePosixPath(shard)
    if split not in SPLITS or path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"The validated manifest names a split {split!r} and a shard {shard!r}.",
            f"run chromaflow ingest, then {_VALIDATE}",
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
    project: Project, settings: Settings, groups: list[_Group], progress: Progress
) -> dict[str, Any]:
    stored = {
        (group.split, group.name): chunks.find(
            project.lab / group.split, group.name, len(group.table)
        )
        for group in groups
    }
    # A raw shard is opened once for all of its splits.
    missing = sorted(
        (group for group in groups if stored[group.split, group.name] is None),
        key=lambda group: group.shard,
    )
    decoded = sum(len(group.table) for group in missing)
    size = settings.preprocess.size
    table = decode.color_table() if decoded * size**2 >= _WORTH_A_TABLE else None
    with (
        progress("Preprocessing", decoded) as advance,
        decode.own_pixel_limit(),
        contextlib.closing(
            _in_order(
                lambda photograph: _convert(photograph, settings, table),
                _photographs(project, missing),
                advance,
            )
        ) as items,
    ):
        for group in missing:
            stored[group.split, group.name] = chunks.write(
                project.lab / group.split,
                group.name,
                settings.preprocess.shard_size,
                itertools.islice(items, len(group.table)),
            )
    index: _Index = {split: [] for split in SPLITS}
    for group in groups:
        index[group.split] += stored[group.split, group.name] or []
    for split, found in index.items():
        chunks.write_index(project.lab / split, found, settings.preprocess.shard_size)
    summary = _summarize(project, settings, index, groups)
    _remove_others(project.lab, index, groups)
    return summary | {"decoded": decoded}


def _photographs(project: Project, groups: Iterable[_Group]) -> Iterator[_Photograph]:
    """The photographs of groups, read from their raw shards one by one."""
    for shard, parts in itertools.groupby(groups, lambda group: group.shard):
        path = project.raw / shard
        try:
            with tarfile.open(path, "r:") as archive:
                members = {
                    member.name.partition(".")[0]: member
                    for member in archive
                    if member.isreg() and not member.name.endswith(".json")
                }
                for group in parts:
                    yield from _read(path, archive, members, group)
        except FileNotFoundError:
            raise DataError(f"{path} is missing; the manifest names it.", _RESTORE) from None
        except (OSError, tarfile.TarError) as error:
            raise DataError(f"{path} cannot be read as a tar archive: {error}", _RESTORE) from None


def _read(
    path: Path, archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], group: _Group
) -> Iterator[_Photograph]:
    for row in group.table.to_pylist():
        member = members.get(row["key"])
        file = archive.extractfile(member) if member else None
        if file is None:
            raise DataError(f"{path} holds no {row['key']} (id {row['id']}).", _RESTORE)
        place = f"{row['key']} (id {row['id']}) in {path}"
        yield _Photograph(row["id"], row["sha256"], place, file.read())


def _convert(photograph: _Photograph, settings: Settings, table: decode.Colors | None) -> LabItem:
    if hashlib.sha256(photograph.data).hexdigest() != photograph.sha256:
        raise DataError(f"{photograph.place} has another SHA-256 than the manifest says.", _RESTORE)
    try:
        lab = decode.photograph_to_lab(
            photograph.data, settings.preprocess.size, settings.source.max_pixels, table
        )
    except DataError as error:
        raise DataError(f"{photograph.place} {error.problem}", _VALIDATE) from None
    return LabItem(id=photograph.id, lab=lab)


def _processors() -> int:
    """The processors that this process may use, fewer than the machine's on a shared node."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _in_order(
    convert: Callable[[_Photograph], LabItem],
    photographs: Iterable[_Photograph],
    advance: console.Advance,
) -> Generator[LabItem]:
    """Convert with a thread a processor; the results come in order, a few at a time in memory."""
    threads = _processors()
    waiting: deque[Future[LabItem]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for photograph in photographs:
            waiting.append(pool.submit(convert, photograph))
            if len(waiting) > _AHEAD * threads:
                yield _next(waiting, advance)
        while waiting:
            yield _next(waiting, advance)


def _next(waiting: deque[Future[LabItem]], advance: console.Advance) -> LabItem:
    item = waiting.popleft().result()
    advance(1)
    return item


def _summarize(
    project: Project, settings: Settings, index: _Index, groups: Iterable[_Group]
) -> dict[str, Any]:
    histogram = np.zeros((256, 256), np.int64)
    for group in groups:
        if group.split == "train":
            histogram += chunks.read_colors(project.lab / "train", group.name)
    content = io.BytesIO()
    np.save(content, histogram, allow_pickle=False)
    files.write_bytes(project.lab / HISTOGRAM, content.getvalue())
    summary = {
        "images": {
            split: sum(chunk["chunk_size"] for chunk in found) for split, found in index.items()
        },
        "size": settings.preprocess.size,
        **statistics.describe(histogram),
    }
    files.write_json(project.lab / STATISTICS, summary)
    return summary


def _remove_others(folder: Path, index: _Index, groups: Iterable[_Group]) -> None:
    """Remove what an earlier run left: chunks of other settings or images, unfinished files."""
    keep = {folder / name for name in (STATISTICS, HISTOGRAM, *SPLITS)}
    keep |= {folder / group.split / chunks.colors_name(group.name) for group in groups}
    paths = list(folder.iterdir())
    for split, found in index.items():
        keep |= {folder / split / name for name in (INDEX, *(c["filename"] for c in found))}
        paths += (folder / split).iterdir()
    for path in paths:
        if path not in keep:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
