"""Clips of photographs under a moving camera, and how each frame is colored by itself."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.video import VideoStream
from numpy.typing import NDArray
from skimage import data

from chromaflow.colorize.predictor import Predictor, shrunk
from chromaflow.colorize.video.mux import join
from chromaflow.colorize.video.propagate import Colored
from chromaflow.colorize.video.read import describe, frames
from chromaflow.colorize.video.write import write_segment

WIDTH, HEIGHT, RATE = 854, 480, 25
SHOT_SECONDS = 4

Pixels = NDArray[np.uint8]


def scene(photograph: Pixels, count: int) -> Iterator[Pixels]:
    """A camera that pans and draws nearer, over a photograph."""
    height, width = photograph.shape[:2]
    for index in range(count):
        part = 0.75 - 0.15 * index / count
        across = part * min(width, height * WIDTH / HEIGHT)
        down = across * HEIGHT / WIDTH
        left = (width - across) * index / count
        top = (height - down) * (0.5 + 0.4 * np.sin(index / 20))
        corners = np.array([[left, top], [left + across, top], [left, top + down]], np.float32)
        edges = np.array([[0, 0], [WIDTH, 0], [0, HEIGHT]], np.float32)
        matrix = cv2.getAffineTransform(corners, edges)
        yield cv2.warpAffine(photograph, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)


def write_clip(path: Path, seconds: int) -> None:
    """Shots of several photographs, one after the other."""
    photographs = itertools.cycle([data.coffee(), data.chelsea(), data.astronaut(), data.rocket()])
    count = seconds * RATE
    shots = (scene(next(photographs), SHOT_SECONDS * RATE) for _ in itertools.count())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for rgb in itertools.islice(itertools.chain.from_iterable(shots), count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))


def color_frame_by_frame(predictor: Predictor, source: Path, target: Path) -> None:
    """Color a video with one prediction of the model a frame."""
    video = describe(source, 10**9)
    levels = video.coding.grey_levels()

    def colored() -> Iterator[Colored]:
        for frame in frames(video):
            ab = predictor.predict_small(levels[shrunk(frame.luma, predictor.size)])
            yield Colored(frame, ab, is_key=True)

    segment = target.with_suffix(".nut")
    with segment.open("wb") as file:
        write_segment(file, video, colored())
    with target.open("wb") as file:
        join(file, target.suffix, video, [segment])
    segment.unlink()


def pictures(path: Path) -> Iterator[Pixels]:
    """The frames of a video, RGB."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            rgb: Pixels = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            yield rgb
