"""Colored frames to segments of a video."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from chromaflow.colorize.video.propagate import Colored
from chromaflow.colorize.video.read import Video
from chromaflow.colorize.video.ycbcr import Plane
from chromaflow.errors import DataError

# Frames only follow from frames before them: so the times of segments never overlap.
ENCODING = {"crf": "18", "preset": "fast", "bf": "0"}
# Keeps every time stamp as it is, in any time base.
_SEGMENT = "nut"


class _Guarded:
    """A file that remembers why it could not be written: FFmpeg does not always report it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise


@contextlib.contextmanager
def container_in(
    file: BinaryIO, kind: str, options: dict[str, str] | None = None
) -> Iterator[OutputContainer]:
    """Write a container of streams to a file.

    Args:
        file: Open for writing.
        kind: By FFmpeg's name.
        options: Of the muxer.

    Raises:
        OSError: The file could not be written.
        DataError: The kind cannot hold what it is given.
    """
    guarded = _Guarded(file)
    try:
        with av.open(guarded, "w", format=kind, options=options) as container:
            yield container
    except av.FFmpegError as error:
        if guarded.error is None:
            raise DataError(f"{kind} cannot hold the video: {error.strerror}.") from None
    if guarded.error:
        raise guarded.error


def chroma_divisor(video: Video) -> int:
    """Side of a pixel of the chroma planes, pixels: 4:2:0 holds even sizes only."""
    return 1 if video.width % 2 or video.height % 2 else 2


def _add_encoder(container: OutputContainer, video: Video) -> VideoStream:
    stream: VideoStream = container.add_stream(
        "libx264", rate=video.rate, options=dict(ENCODING), time_base=video.time_base
    )
    stream.width, stream.height = video.width, video.height
    stream.pix_fmt = "yuv420p" if chroma_divisor(video) == 2 else "yuv444p"
    context = stream.codec_context
    context.sample_aspect_ratio = video.aspect
    context.colorspace = video.coding.matrix
    context.color_range = 2 if video.coding.full_range else 1
    context.color_primaries = video.primaries
    context.color_trc = video.transfer
    return stream


def _picture(video: Video, planes: tuple[Plane, Plane, Plane]) -> VideoFrame:
    if chroma_divisor(video) == 1:
        return VideoFrame.from_ndarray(np.stack(planes), format="yuv444p")
    rows = [plane.reshape(-1, video.width) for plane in planes]
    return VideoFrame.from_ndarray(np.concatenate(rows), format="yuv420p")


def write_segment(file: BinaryIO, video: Video, frames: Iterable[Colored]) -> None:
    """Encode some frames, so that they can be joined to others without being encoded again.

    Args:
        file: Where they go.
        video: What they come from.
        frames: One after the other.
    """
    with container_in(file, _SEGMENT) as container:
        stream = _add_encoder(container, video)
        for colored in frames:
            luma = colored.frame.luma
            planes = video.coding.color_planes(luma, colored.ab, chroma_divisor(video))
            picture = _picture(video, planes)
            picture.pts, picture.time_base = colored.frame.pts, video.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
