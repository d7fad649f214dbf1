"""Raw shards to chunks of Lab images, in this process or in several."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import cv2

from chromaflow.data.snapshot.shards import Shard
from chromaflow.data.store import chunks, decode
from chromaflow.data.store.read import LabItem
from chromaflow.errors import DataError, UserError

# Raw shards that wait for each process, so that none is idle while another is chosen.
_AHEAD = 2


class Photograph(NamedTuple):
    """A photograph as the manifest names it."""

    id: str
    key: str
    sha256: str


class Group(NamedTuple):
    """The photographs of one raw shard in one split, and where their chunks go."""

    folder: Path
    name: str
    photographs: list[Photograph]


class ShardJob(NamedTuple):
    """A raw shard and what is to be made of it; it is opened once for all of its groups."""

    shard: Path
    groups: list[Group]


class ConversionOptions(NamedTuple):
    """How photographs are converted.

    Args:
        size: Shorter side of the images, pixels.
        chunk_bytes: Largest chunk.
        max_pixels: Of a photograph.
        table: Whether a table of all colors pays.
    """

    size: int
    chunk_bytes: int
    max_pixels: int
    table: bool


Chunks = list[chunks.Chunk]


def convert(
    jobs: Iterable[ShardJob], options: ConversionOptions, processes: int
) -> Generator[tuple[ShardJob, list[Chunks]]]:
    """Write the chunks of raw shards; the bytes do not depend on the number of processes.

    Closing the iterator, or the end of this process, ends the others at once.

    Args:
        jobs: Drawn as processes get idle.
        options: How to convert.
        processes: How many work; with one, it is this one.

    Returns:
        Each raw shard as it is done, and the chunks of its groups as the index lists them.

    Raises:
        DataError: A raw shard or a photograph is missing, or not what the manifest says.
        OSError: A chunk cannot be written.
        UserError: A process was killed.
    """
    if processes > 1:
        yield from _over_processes(jobs, options, processes)
    else:
        converter = _Converter(options)
        for job in jobs:
            yield job, converter.run(job)


def _over_processes(
    jobs: Iterable[ShardJob], options: ConversionOptions, processes: int
) -> Generator[tuple[ShardJob, list[Chunks]]]:
    waiting: dict[Future[list[Chunks]], ShardJob] = {}
    with _pool(options, processes) as pool:
        for job in itertools.chain(jobs, itertools.repeat(None)):
            if job is not None:
                waiting[pool.submit(_run, job)] = job
                if len(waiting) < _AHEAD * processes:
                    continue
            elif not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()


@contextlib.contextmanager
def _pool(options: ConversionOptions, processes: int) -> Iterator[ProcessPoolExecutor]:
    # Forked, OpenCV may hang.
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with (
        theirs,
        ours,
        ProcessPoolExecutor(
            processes, mp_context=context, initializer=_start, initargs=(theirs, options)
        ) as pool,
    ):
        try:
            yield pool
        except BrokenProcessPool:
            raise UserError(
                "a process that converts photographs was killed, perhaps for lack of memory.",
                "lower runtime.processes, then chromaflow preprocess: finished shards are kept",
            ) from None
        except BaseException:
            # The executor alone would wait until the raw shards at hand are done.
            ours.close()
            raise


def _start(parent: Connection, options: ConversionOptions) -> None:
    """Make ready a process of the pool; its parent hears of Ctrl-C and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _converters.append(_Converter(options))


def _end_with(parent: Connection) -> None:
    """End this process when its parent closes the pipe, or was killed and so closed it."""
    parent.poll(None)
    os._exit(1)


def _run(job: ShardJob) -> list[Chunks]:
    return _converters[0].run(job)


class _Converter:
    """What a process keeps from one raw shard to the next."""

    def __init__(self, options: ConversionOptions) -> None:
        # There is a process for each core.
        cv2.setNumThreads(1)
        self._options = options
        self._table = decode.color_table() if options.table else None

    def run(self, job: ShardJob) -> list[Chunks]:
        """Write the groups of a raw shard."""
        with Shard(job.shard) as shard:
            return [
                chunks.write(
                    group.folder,
                    group.name,
                    self._options.chunk_bytes,
                    (self._image(shard, photograph) for photograph in group.photographs),
                )
                for group in job.groups
            ]

    def _image(self, shard: Shard, photograph: Photograph) -> LabItem:
        data = shard.read(photograph.key, photograph.sha256)
        try:
            lab = decode.photograph_to_lab(
                data, self._options.size, self._options.max_pixels, self._table
            )
        except DataError as error:
            place = f"{photograph.key} (id {photograph.id}) in {shard.path}"
            raise DataError(f"{place} {error.problem}", "chromaflow validate") from None
        return LabItem(id=photograph.id, lab=lab)


# Of a process of the pool: one.
_converters: list[_Converter] = []
