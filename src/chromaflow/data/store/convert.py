"""Raw shards to chunks of Lab images, in this process or in several."""

import contextlib
import hashlib
import itertools
import multiprocessing
import os
import signal
import tarfile
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import cv2

from chromaflow.data.store import chunks, decode
from chromaflow.data.store.read import LabItem
from chromaflow.errors import DataError, UserError

_VALIDATE = "run chromaflow validate"
_RESTORE = "dvc checkout data.dvc --force, then chromaflow preprocess"
# Raw shards that wait for each process, so that none is idle while another is told of.
_AHEAD = 2


class Photograph(NamedTuple):
    """A photograph as the manifest tells it."""

    id: str
    key: str
    sha256: str


class Group(NamedTuple):
    """The photographs of one raw shard in one split, and where their chunks go."""

    folder: Path
    name: str
    photographs: list[Photograph]


class Work(NamedTuple):
    """A raw shard and what is to be made of it; it is opened once for all of its groups."""

    shard: Path
    groups: list[Group]


class Manner(NamedTuple):
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
    works: Iterable[Work], manner: Manner, processes: int
) -> Generator[tuple[Work, list[Chunks]]]:
    """Write the chunks of raw shards; the bytes do not depend on the number of processes.

    Closing the iterator, or the end of this process, ends the others at once.

    Args:
        works: Drawn as processes get idle.
        manner: How to convert.
        processes: How many work; with one, it is this one.

    Returns:
        Each raw shard as it is done, and the chunks of its groups as the index tells them.

    Raises:
        DataError: A raw shard or a photograph is missing, or not what the manifest says.
        OSError: A chunk cannot be written.
        UserError: A process was killed.
    """
    if processes > 1:
        yield from _over_processes(works, manner, processes)
    else:
        converter = _Converter(manner)
        for work in works:
            yield work, converter.run(work)


def _over_processes(
    works: Iterable[Work], manner: Manner, processes: int
) -> Generator[tuple[Work, list[Chunks]]]:
    waiting: dict[Future[list[Chunks]], Work] = {}
    with _pool(manner, processes) as pool:
        for work in itertools.chain(works, itertools.repeat(None)):
            if work is not None:
                waiting[pool.submit(_run, work)] = work
                if len(waiting) < _AHEAD * processes:
                    continue
            elif not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()


@contextlib.contextmanager
def _pool(manner: Manner, processes: int) -> Iterator[ProcessPoolExecutor]:
    # Forked, OpenCV may hang.
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with (
        theirs,
        ours,
        ProcessPoolExecutor(
            processes, mp_context=context, initializer=_start, initargs=(theirs, manner)
        ) as pool,
    ):
        try:
            yield pool
        except BrokenProcessPool:
            raise UserError(
                "a process that converts photographs was killed, perhaps for want of memory.",
                "lower runtime.processes, then chromaflow preprocess: finished shards are kept",
            ) from None
        except BaseException:
            # The executor alone would wait until the raw shards at hand are done.
            ours.close()
            raise


def _start(parent: Connection, manner: Manner) -> None:
    """Make ready a process of the pool; its parent hears of Ctrl-C and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _converters.append(_Converter(manner))


def _end_with(parent: Connection) -> None:
    """End this process when its parent closes the pipe, or was killed and so closed it."""
    parent.poll(None)
    os._exit(1)


def _run(work: Work) -> list[Chunks]:
    return _converters[0].run(work)


class _Converter:
    """What a process keeps from one raw shard to the next."""

    def __init__(self, manner: Manner) -> None:
        # There is a process for each core.
        cv2.setNumThreads(1)
        self._manner = manner
        self._table = decode.color_table() if manner.table else None

    def run(self, work: Work) -> list[Chunks]:
        """Write the groups of a raw shard."""
        with _Archive(work.shard) as archive:
            return [
                chunks.write(
                    group.folder,
                    group.name,
                    self._manner.chunk_bytes,
                    (self._image(archive, photograph) for photograph in group.photographs),
                )
                for group in work.groups
            ]

    def _image(self, archive: "_Archive", photograph: Photograph) -> LabItem:
        data = archive.read(photograph)
        place = f"{photograph.key} (id {photograph.id}) in {archive.path}"
        if hashlib.sha256(data).hexdigest() != photograph.sha256:
            raise DataError(f"{place} has another SHA-256 than the manifest says.", _RESTORE)
        try:
            lab = decode.photograph_to_lab(
                data, self._manner.size, self._manner.max_pixels, self._table
            )
        except DataError as error:
            raise DataError(f"{place} {error.problem}", _VALIDATE) from None
        return LabItem(id=photograph.id, lab=lab)


# Of a process of the pool: one.
_converters: list[_Converter] = []


class _Archive(contextlib.AbstractContextManager["_Archive"]):
    """A raw shard whose photographs are read by their keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._faults():
            self._file = tarfile.open(path, "r:")  # noqa: SIM115 (closed by __exit__)
            self._members = {
                member.name.partition(".")[0]: member
                for member in self._file
                if member.isreg() and not member.name.endswith(".json")
            }

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, photograph: Photograph) -> bytes:
        with self._faults():
            member = self._members.get(photograph.key)
            file = self._file.extractfile(member) if member else None
            if file is None:
                raise DataError(
                    f"{self.path} holds no {photograph.key} (id {photograph.id}).", _RESTORE
                )
            return file.read()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"{self.path} is missing; the manifest names it.", _RESTORE) from None
        except (OSError, tarfile.TarError) as error:
            raise DataError(
                f"{self.path} cannot be read as a tar archive: {error}", _RESTORE
            ) from None
