"""The figures of docs/ that show what a model does with photographs from scikit-image's package.

All of these photographs may be redistributed: the astronaut (NASA) and the rocket (SpaceX) are in
the public domain; the camera, the cat and the coffee are CC0.

    python benchmarks/pictures.py photographs --model FOLDER --output FILE
    python benchmarks/pictures.py video --model FOLDER --output FILE

`photographs` shows each as grayscale, predicted, and true where it has a color; `video` shows
frames of the clip that benchmarks/video.py makes as grayscale, colorized frame by frame,
propagated, and true.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from chromaflow.colorize.join import grey_of_rgb
from chromaflow.colorize.predictor import Predictor
from chromaflow.colorize.video import colorize_video
from common.clips import RATE, color_frame_by_frame, pictures, write_clip

PHOTOGRAPHS = ("rocket", "camera", "astronaut", "coffee", "chelsea")
SECONDS = (1, 3, 5, 7, 9, 11, 13, 15)
HEIGHT, FRAME_HEIGHT, GAP = 200, 90, 4

Picture = NDArray[np.uint8]


def eight_bit(levels: NDArray[np.uint16]) -> Picture:
    """Round 16-bit sRGB to 8 bits."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def grid(rows: Sequence[Sequence[Picture]], height: int) -> Image.Image:
    """Images in rows, scaled to the same height."""
    lines = []
    for row in rows:
        scaled = [
            cv2.resize(
                one,
                (round(one.shape[1] * height / one.shape[0]), height),
                interpolation=cv2.INTER_AREA,
            )
            for one in row
        ]
        lines.append(scaled)
    width = max(sum(one.shape[1] + GAP for one in line) for line in lines) - GAP
    whole = Image.new("RGB", (width, len(lines) * (height + GAP) - GAP), "white")
    for number, line in enumerate(lines):
        left = 0
        for one in line:
            whole.paste(Image.fromarray(one), (left, number * (height + GAP)))
            left += one.shape[1] + GAP
    return whole


def of_photographs(predictor: Predictor) -> Image.Image:
    """Each photograph as grayscale, predicted, and true where it has a color."""
    rows = []
    for name in PHOTOGRAPHS:
        photograph = getattr(data, name)()
        colored = photograph.ndim == 3
        rgb = photograph if colored else np.dstack([photograph] * 3)
        grey = grey_of_rgb(rgb)
        row = [np.dstack([eight_bit(grey)] * 3), eight_bit(predictor.color(grey))]
        rows.append([*row, rgb] if colored else row)
    return grid(rows, HEIGHT)


def of_video(predictor: Predictor) -> Image.Image:
    """Frames of a clip as grayscale, frame by frame, propagated, and true."""
    with tempfile.TemporaryDirectory() as temporary:
        clip, single, propagated = (Path(temporary) / f"{name}.mp4" for name in "csp")
        write_clip(clip, SECONDS[-1] + 1)
        color_frame_by_frame(predictor, clip, single)
        colorize_video(predictor, clip, propagated)
        true, *colored = (chosen_frames(path) for path in (clip, single, propagated))
    grey = [np.dstack([cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)] * 3) for one in true]
    return grid([grey, *colored, true], FRAME_HEIGHT)


def chosen_frames(path: Path) -> list[Picture]:
    chosen = {second * RATE for second in SECONDS}
    return [rgb for number, rgb in enumerate(pictures(path)) if number in chosen]


FIGURES: dict[str, Callable[[Predictor], Image.Image]] = {
    "photographs": of_photographs,
    "video": of_video,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--output", type=Path, required=True, help="JPEG to write")
    arguments = parser.parse_args()
    FIGURES[arguments.figure](Predictor.load(arguments.model, "cpu")).save(
        arguments.output, quality=85
    )


if __name__ == "__main__":
    main()
