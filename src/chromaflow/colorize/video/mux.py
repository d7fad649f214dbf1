"""Join segments to a video, with the sound of the original."""

import contextlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from chromaflow.colorize.video.read import Video, opened, packets_of
from chromaflow.colorize.video.write import container_in

FORMAT_OF_SUFFIX = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_COMMENT = "colors predicted by a model (chromaflow)"


class _Copy:
    """A stream of the source in the result, as it is."""

    def __init__(self, result: OutputContainer, stream: Stream) -> None:
        self._stream = result.add_stream_from_template(stream)
        self._stream.metadata.update(stream.metadata)

    def packets(self, packet: "Packet[Stream]") -> Iterator["Packet[Stream]"]:
        packet.stream = self._stream
        yield packet


class _EncodedAnew:
    """Sound of a kind that the result cannot hold, as AAC."""

    def __init__(self, result: OutputContainer, stream: AudioStream) -> None:
        context = stream.codec_context
        rates = av.Codec("aac", "w").audio_rates or []
        rate = context.sample_rate if context.sample_rate in rates else 44_100
        self._source = stream
        self._stream = result.add_stream("aac", rate=rate)
        # Where a file states only the number of channels, their layout is the default one.
        layout = {1: "mono", 2: "stereo"}.get(context.layout.nb_channels, context.layout.name)
        self._stream.codec_context.layout = layout
        self._stream.metadata.update(stream.metadata)
        self._resampler = av.AudioResampler("fltp", layout, rate, frame_size=1024)

    def packets(self, packet: "Packet[Stream]") -> Iterator["Packet[Stream]"]:
        with contextlib.suppress(av.FFmpegError):  # what is damaged is silence
            for frame in self._source.decode(packet):
                yield from self._encoded(frame)
        if not packet.size:  # the last one
            yield from self._encoded(None)
            yield from self._stream.encode(None)

    def _encoded(self, frame: av.AudioFrame | None) -> Iterator["Packet[Stream]"]:
        for part in self._resampler.resample(frame):
            yield from self._stream.encode(part)


def _added(
    result: OutputContainer, source: InputContainer, suffix: str, notes: list[str]
) -> dict[int, _Copy | _EncodedAnew]:
    """Add the source's sound and subtitles; gives the new streams by their index there."""
    copies: dict[int, _Copy | _EncodedAnew] = {}
    for stream in (*source.streams.audio, *source.streams.subtitles):
        name = stream.codec_context.name if stream.codec_context else "unknown"
        try:
            copies[stream.index] = _Copy(result, stream)
        except (ValueError, av.FFmpegError):
            if isinstance(stream, AudioStream) and stream.codec_context:
                copies[stream.index] = _EncodedAnew(result, stream)
                notes.append(f"its sound was re-encoded: {suffix} holds no {name}")
            else:
                notes.append(f"its {stream.type} was left out: {suffix} holds no {name}")
    return copies


def _segment_packets(segments: Sequence[Path], stream: Stream) -> Iterator["Packet[Stream]"]:
    for path in segments:
        with opened(path) as container:
            for packet in packets_of(container, container.streams.video):
                packet.stream = stream
                yield packet


def _other_packets(
    source: InputContainer, copies: dict[int, _Copy | _EncodedAnew]
) -> Iterator["Packet[Stream]"]:
    for packet in packets_of(source, [source.streams[index] for index in copies]):
        yield from copies[packet.stream.index].packets(packet)


def _timed(
    packets: Iterable["Packet[Stream]"], start: float
) -> Iterator[tuple[float, "Packet[Stream]"]]:
    """Packets and their seconds, counted from the start of the source."""
    for packet in packets:
        if packet.dts is None:
            continue  # such as the empty ones at the end
        shift = round(start / packet.time_base)
        packet.dts -= shift
        packet.pts = None if packet.pts is None else packet.pts - shift
        yield float(packet.dts * packet.time_base), packet


def join(file: BinaryIO, suffix: str, video: Video, segments: Sequence[Path]) -> None:
    """Put segments together, with the sound, subtitles, chapters and texts of their source.

    Nothing is encoded again, but sound that the kind of file cannot hold. Times are counted from
    the start of the source.

    Args:
        file: Where the video goes.
        suffix: Of its name, which determines the format.
        video: What the segments come from; gets notes on what could not be kept.
        segments: In their order.
    """
    options = {} if suffix == ".mkv" else {"movie_timescale": str(video.time_base.denominator)}
    with (
        opened(video.path) as source,
        opened(segments[0]) as first,
        container_in(file, FORMAT_OF_SUFFIX[suffix], options) as result,
    ):
        # A template that is opaque is copied rather than made ready to encode.
        stream = result.add_stream_from_template(first.streams.video[0], opaque=True)
        copies = _added(result, source, suffix, video.notes)
        result.metadata.update({**source.metadata, "comment": _COMMENT})
        with contextlib.suppress(av.FFmpegError, ValueError):  # chapters that are none
            result.set_chapters(source.chapters())
        ways = (
            _timed(_segment_packets(segments, stream), video.start),
            _timed(_other_packets(source, copies), video.start),
        )
        for _, packet in heapq.merge(*ways, key=itemgetter(0)):
            result.mux_one(packet)
