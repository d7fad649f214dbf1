"""Segments of a video that are already colored, kept next to the target until all are done."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from chromaflow.colorize.video.propagate import Colored
from chromaflow.colorize.video.read import Video
from chromaflow.colorize.video.write import write_segment
from chromaflow.errors import DataError, ServerError
from chromaflow.project import files

# What a kill may cost: at 25 frames a second about ten seconds of video.
SEGMENT_FRAMES = 240


class Work:
    """The finished segments of one video.

    The name of a segment holds its first frame and the one after its last; what has such a name is
    complete and on disk.

    Args:
        folder: Of the segments; exists.
        fingerprint: Of all that the colored frames depend on: segments of another are removed.
    """

    def __init__(self, folder: Path, fingerprint: dict[str, Any]) -> None:
        self._folder = folder
        kept = folder / "fingerprint.json"
        try:
            same = json.loads(kept.read_text()) == fingerprint
        except (OSError, ValueError):
            same = False
        if not same:
            for path in self.segments():
                path.unlink()
            files.write_json(kept, fingerprint)

    def segments(self) -> list[Path]:
        """The finished segments, in their order."""
        return sorted(self._folder.glob("*-*.nut"))

    def done(self) -> int:
        """How many frames from the start are finished."""
        segments = self.segments()
        return int(segments[-1].stem.partition("-")[2]) if segments else 0

    def add(self, video: Video, frames: Iterable[Colored]) -> None:
        """Write the frames that follow the finished ones, segment by segment."""
        for segment in _segments_of(iter(frames)):
            first = last = self.done()

            def counted(segment: Iterator[Colored] = segment) -> Iterator[Colored]:
                nonlocal last
                for colored in segment:
                    yield colored
                    last += 1

            unnamed = self._folder / "unfinished.nut"
            with files.atomic_file(unnamed) as file:
                write_segment(file, video, counted())
            unnamed.rename(self._folder / f"{first:09}-{last:09}.nut")


def _segments_of(frames: Iterator[Colored]) -> Iterator[Iterator[Colored]]:
    """Parts that begin with a key frame, where coloring can resume without what came before."""
    following = next(frames, None)

    def segment() -> Iterator[Colored]:
        nonlocal following
        count = 0
        while following and not (count >= SEGMENT_FRAMES and following.is_key):
            yield following
            count += 1
            following = next(frames, None)

    while following:
        yield segment()


@contextlib.contextmanager
def work_for(output: Path, fingerprint: dict[str, Any]) -> Iterator[Work]:
    """Give the work on a video, which is removed when the block ends well.

    Args:
        output: The file to be; the folder of segments is next to it, hidden.
        fingerprint: As of `Work`.

    Raises:
        ServerError: Another process is at it.
    """
    folder = output.parent / f".{output.name}.segments"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(
                f"another process is coloring {output}.", "wait until it has ended"
            ) from None
        try:
            yield Work(folder, fingerprint)
        except DataError:
            shutil.rmtree(folder)  # another run would find the video no better
            raise
        shutil.rmtree(folder)
