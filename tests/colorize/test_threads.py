"""Many threads use one predictor, each in its own way, and get what one thread gets."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.color import rgb2gray

from chromaflow.colorize.hints import read_hints
from chromaflow.colorize.photo import colorize_photo
from chromaflow.colorize.predictor import ColorOptions, Predictor
from chromaflow.models import build_model
from chromaflow.models.model_folder import save_model
from chromaflow.settings import Model

THREADS = 8


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    torch.manual_seed(0)
    settings = Model.model_validate(
        {
            "network": {"name": "zhang2017", "width": 0.0625, "depth": 0.1},
            "codebook": "grid313",
        }
    )
    save_model(build_model(settings), tmp_path / "model")
    return Predictor.load(tmp_path / "model", "cpu")


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Of several shapes, formats and depths."""
    names = {"coffee": ".png", "chelsea": ".jpg", "astronaut": ".tif", "rocket": ".webp"}
    paths = []
    for name, suffix in names.items():
        grey = (rgb2gray(getattr(data, name)()) * 255).round().astype(np.uint8)[::4, ::4]
        paths.append(tmp_path / f"{name}{suffix}")
        Image.fromarray(grey).save(paths[-1])
    return paths


def options(folder: Path) -> list[ColorOptions]:
    """As many ways to color as there are threads."""
    points = folder / "points.json"
    points.write_text(json.dumps({"points": [{"x": 20, "y": 30, "color": "teal", "radius": 9}]}))
    Image.fromarray(data.coffee()).save(folder / "reference.png")
    return [
        ColorOptions(),
        ColorOptions(size=64, refine="guided", upsample="guided"),
        ColorOptions(size=80, refine="crf", hints=read_hints(palette="#aa3311, teal")),
        ColorOptions(size=96, refine="joint_bilateral", hints=read_hints(points)),
        ColorOptions(size=64, refine="superpixels", upsample="joint_bilateral"),
        ColorOptions(size=72, refine="total_variation", hints=read_hints(saturation=0.2)),
        ColorOptions(size=128, hints=read_hints(reference=folder / "reference.png")),
        ColorOptions(size=64, refine="none", upsample="joint_bilateral"),
    ]


def test_eight_threads_give_the_bytes_of_one(
    predictor: Predictor, photographs: list[Path], tmp_path: Path
) -> None:
    ways = options(tmp_path)
    assert len(ways) == THREADS
    together = threading.Barrier(THREADS)

    def color(number: int, folder: Path) -> list[bytes]:
        made = []
        for turn in range(len(photographs)):
            source = photographs[(turn + number) % len(photographs)]
            target = folder / f"{number}-{turn}{source.suffix}"
            colorize_photo(predictor, source, target, options=ways[number])
            made.append(target.read_bytes())
        return made

    def at_once(number: int) -> list[bytes]:
        together.wait()
        return color(number, tmp_path / "many")

    one = [color(number, tmp_path / "one") for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        many = list(pool.map(at_once, range(THREADS)))
    assert many == one
    assert len({made[0] for made in one}) == THREADS
