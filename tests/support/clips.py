"""Small clips: a photograph under a moving camera, written with PyAV."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.audio import AudioStream
from av.container import OutputContainer
from av.video import VideoStream
from numpy.typing import NDArray
from skimage import data

from chromaflow.colorize.predictor import Predictor
from chromaflow.colorize.video import colorize_video

Pixels = NDArray[np.uint8]

PHOTOGRAPHS: dict[str, Pixels] = {
    "cat": data.chelsea(),
    "cup": data.coffee(),
    "rocket": data.rocket(),
}
TIME_BASE = Fraction(1, 12800)


def pan(
    name: str = "cup",
    count: int = 12,
    width: int = 96,
    height: int = 64,
    *,
    colored: bool = False,
    step: int = 2,
) -> Iterator[Pixels]:
    """RGB frames of a camera that moves over a photograph."""
    photograph = PHOTOGRAPHS[name]
    scale = (height + 40) / photograph.shape[0]
    small = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if not colored:
        small = np.dstack([cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)] * 3)
    for index in range(count):
        left, top = 4 + step * index % 60, 2 + index % 30
        yield np.ascontiguousarray(small[top : top + height, left : left + width])


def write_clip(
    path: Path,
    frames: Iterable[Pixels],
    *,
    rate: int = 25,
    times: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    sound: str | None = None,
) -> Path:
    """Write RGB frames; `times` in TIME_BASE where the rate varies, `sound` a codec of a sine."""
    with av.open(path, "w") as container:
        first, frames = _peek(frames)
        settings = {"crf": "10"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=rate, options=settings)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pix_fmt
        if times is not None:
            stream.codec_context.time_base = TIME_BASE
        tone = container.add_stream(sound, rate=44100, layout="mono") if sound else None
        for index, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
            frame.pts = index if times is None else times[index]
            frame.time_base = Fraction(1, rate) if times is None else TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone:
            assert isinstance(tone, AudioStream)
            _write_sound(container, tone)
    return path


def _peek(frames: Iterable[Pixels]) -> tuple[Pixels, Iterator[Pixels]]:
    others = iter(frames)
    first = next(others)
    return first, itertools.chain([first], others)


def _write_sound(container: OutputContainer, stream: AudioStream, seconds: float = 0.5) -> None:
    samples = np.sin(np.arange(int(44100 * seconds)) * 440 * 2 * np.pi / 44100)
    kind = stream.codec_context.format.name
    scaled = samples if "flt" in kind else samples * 32767
    wave = scaled.astype(np.float32) if "flt" in kind else scaled.astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[None], format=kind, layout="mono")
    frame.sample_rate, frame.pts = 44100, 0
    resampler = av.AudioResampler(kind, "mono", 44100, stream.codec_context.frame_size or 1024)
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def read_clip(path: Path) -> tuple[Pixels, list[Fraction]]:
    """RGB frames and their times in seconds."""
    with av.open(path) as container:
        pixels, times = [], []
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            pixels.append(frame.to_ndarray(format="rgb24"))
            times.append(frame.pts * frame.time_base)
    return np.stack(pixels), times


def sound_packets(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def colored(
    predictor: Predictor, clip: Path, out: Path
) -> tuple[dict[str, Any], Pixels, list[Fraction]]:
    """Color a clip into a folder that must hold nothing else; what is told, and what it holds."""
    result = colorize_video(predictor, clip, out)
    assert [path.name for path in out.iterdir()] == [Path(result["target"]).name]
    return result, *read_clip(Path(result["target"]))
