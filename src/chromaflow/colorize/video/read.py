"""A video from a file that may be anything: upright luma frames, or an error that names it."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from chromaflow.colorize.video.ycbcr import Plane, YCbCr, is_colored
from chromaflow.errors import DataError

SUFFIXES = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv",
})  # fmt: skip
# Named, because some of the other demuxers fetch or open further files.
_DEMUXERS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,mxf,h264,hevc,mpegvideo,m4v,nut,gif"
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
# The codes of matrices by which libswscale knows them.
_SCALER_MATRIX = {1: 1, 5: 5, 6: 5, 9: 9}
_HIGH_DYNAMIC_RANGE = (16, 18)  # PQ and HLG in H.273
_FULL_RANGE = 2
# A header states the length of the longest stream, which need not be the video.
_SPARE_SECONDS = 1.0


@dataclass
class Frame:
    """A frame in grey, upright.

    Args:
        index: From 0.
        pts: When it is shown, in the video's time base.
        luma: Codes of 8 bits, (H, W).
    """

    index: int
    pts: int
    luma: Plane


@dataclass
class Video:
    """What a video's header states, and what its frames showed while they were read.

    Args:
        path: The file.
        width: Upright, pixels.
        height: Upright, pixels.
        turns: Quarter turns, counterclockwise, that make its frames upright.
        time_base: Seconds a unit of time.
        rate: Frames a second, on average.
        start: Seconds at which it starts; other streams start by the same clock.
        frames: As its header states; None where it does not.
        aspect: Width over height of a pixel, upright.
        coding: Of its colors.
        primaries: Code of H.273.
        transfer: Code of H.273.
        notes: What its user should know.
        tally: Of what was read so far: frames `decoded`, and how many of these were `colored`;
            packets that were `damaged`, or `discarded` as the file asks.
    """

    path: Path
    width: int
    height: int
    turns: int
    time_base: Fraction
    rate: Fraction
    start: float
    frames: int | None
    aspect: Fraction
    coding: YCbCr
    primaries: int
    transfer: int
    notes: list[str] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)

    @property
    def was_colored(self) -> bool:
        """Whether most frames had colors of their own, sepia and toning apart."""
        return 2 * self.tally["colored"] > self.tally["decoded"]

    @property
    def lost(self) -> int:
        """Frames that the file should hold and does not."""
        read = self.tally["decoded"] + self.tally["discarded"]
        return max(self.tally["damaged"], (self.frames or 0) - read)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height before a frame is turned upright."""
        return (self.height, self.width) if self.turns % 2 else (self.width, self.height)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a file as a container of streams.

    Raises:
        DataError: It is missing, unreadable, empty or no video.
    """
    try:
        if not path.is_file():
            path.stat()
            raise DataError(f"{path} is not a file.")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty: it has no bytes.")
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        container = av.open(str(path.resolve()), options=_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, ValueError):
        raise DataError(
            f"{path} is not a supported video, or it is damaged or truncated.",
            "if it plays, convert it to MP4 or Matroska",
        ) from None
    with container:
        yield container


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream of moving pictures; a cover is none.

    Raises:
        DataError: There is none.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise DataError(f"{path}: its video is in an unsupported format.")
            return stream
    raise DataError(f"{path} holds no video.")


def _frames_of(container: InputContainer, stream: VideoStream, rate: Fraction) -> int | None:
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate)
    if container.duration:
        seconds = container.duration / av.time_base - _SPARE_SECONDS
        return max(1, round(seconds * rate))
    return None


def _coding(stream: VideoStream) -> YCbCr:
    context = stream.codec_context
    matrix = context.colorspace
    if matrix not in (1, 5, 6, 9):
        matrix = 1 if context.height >= 720 else 6
    full = context.color_range == _FULL_RANGE or (context.pix_fmt or "").startswith("yuvj")
    return YCbCr(matrix, full)


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise DataError(
            f"{path} has frames of {width} × {height} pixels, more than source.max_pixels = "
            f"{max_pixels}.",
            f"if you trust the file: --set source.max_pixels={width * height}",
        )


def _described(
    path: Path, container: InputContainer, stream: VideoStream, first: VideoFrame
) -> Video:
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    turns = round(first.rotation / 90) % 4
    aspect = context.sample_aspect_ratio or Fraction(1)
    width, height = first.width, first.height
    video = Video(
        path,
        width=height if turns % 2 else width,
        height=width if turns % 2 else height,
        turns=turns,
        time_base=stream.time_base or 1 / rate,
        rate=rate,
        start=max(0, container.start_time or 0) / av.time_base,
        frames=_frames_of(container, stream, rate),
        aspect=1 / aspect if turns % 2 else aspect,
        coding=_coding(stream),
        primaries=context.color_primaries,
        transfer=context.color_trc,
    )
    if first.interlaced_frame:
        video.notes.append("it is interlaced, and its fields were colored as one picture")
    if context.color_trc in _HIGH_DYNAMIC_RANGE:
        video.notes.append("its high dynamic range was read as standard range")
    if any(component.bits > 8 for component in first.format.components):
        video.notes.append("written with 8 bits: some players do not support H.264 with more")
    return video


def describe(path: Path, max_pixels: int) -> Video:
    """Read a video's header and first frame.

    Args:
        path: The file.
        max_pixels: Larger frames are refused before any is decoded.

    Raises:
        DataError: It is not a video, has no frames, or is too large.
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        context = stream.codec_context
        _check_size(path, context.width, context.height, max_pixels)
        first = next(_decoded(container, stream, Counter()), None)
        if first is None:
            raise DataError(f"{path} has no frames that can be decoded.")
        _check_size(path, first.width, first.height, max_pixels)
        return _described(path, container, stream, first)


def packets_of(container: InputContainer, streams: Sequence[Stream]) -> Iterator["Packet[Stream]"]:
    """Packets of some streams, up to the end of the file or to where it is broken."""
    packets = container.demux(*streams) if streams else iter(())
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return


def _decoded(
    container: InputContainer, stream: VideoStream, tally: Counter[str]
) -> Iterator[VideoFrame]:
    """Every frame that can be decoded; damaged and discarded packets are counted."""
    stream.thread_type = "AUTO"
    for packet in packets_of(container, [stream]):
        tally["discarded"] += packet.is_discard
        try:
            yield from stream.decode(packet)
        except av.FFmpegError:
            tally["damaged"] += 1
    with contextlib.suppress(av.FFmpegError):  # it has ended before, unless the file broke off
        yield from stream.codec_context.decode(None)


def _planes(frame: VideoFrame, coding: YCbCr) -> tuple[Plane, Plane, Plane]:
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        frame = frame.reformat(
            format="yuv420p",
            dst_colorspace=_SCALER_MATRIX[coding.matrix],
            dst_color_range=2 if coding.full_range else 1,
        )
    first, second, third = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
            : plane.height, : plane.width
        ]
        for plane in frame.planes
    )
    return first, second, third


def frames(video: Video) -> Iterator[Frame]:
    """Every frame of a video that can be decoded, one after the other.

    Args:
        video: As described; gets the counts of what was read.

    Raises:
        DataError: The size of the frames changes.
    """
    step = max(1, round(1 / (video.rate * video.time_base)))
    last = -step  # so that the first one without a time is at 0
    with opened(video.path) as container:
        # AVI stores when a frame is decoded, not when it is shown.
        untimed = container.format.name == "avi"
        for frame in _decoded(container, video_stream(container, video.path), video.tally):
            if (frame.width, frame.height) != video.stored_size:
                raise _size_changes(video, frame)
            planes = _planes(frame, video.coding)
            pts = last + step if frame.pts is None or untimed else frame.pts
            # A muxer refuses a frame that is not later than the one before.
            last = max(pts, last + 1) if video.tally["decoded"] else pts
            luma = np.rot90(video.coding.grey_luma(planes), video.turns)
            yield Frame(video.tally["decoded"], last, np.array(luma, order="C"))
            video.tally["decoded"] += 1
            video.tally["colored"] += is_colored(planes)


def _size_changes(video: Video, frame: VideoFrame) -> DataError:
    width, height = video.stored_size
    where = f"at frame {video.tally['decoded']}"
    return DataError(
        f"{video.path} changes its size {where} from {width} × {height} to "
        f"{frame.width} × {frame.height}.",
        "split it there, and color the parts",
    )
