"""Strips of pictures: the same photographs as each system colors them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chromaflow.color.lab import join, lab_to_rgb
from chromaflow.colorize.join import lightness_of_levels
from chromaflow.colorize.predictor import shrunk
from chromaflow.colorize.read import read_photo
from chromaflow.data.store.read import read_split
from chromaflow.evaluation.baselines import BASELINES
from chromaflow.evaluation.measure import Predictor, resize_square
from chromaflow.evaluation.strips import choose
from chromaflow.experiments.comparison import Row
from chromaflow.models.model_folder import load_model
from chromaflow.project.paths import Project
from chromaflow.settings.sources import MAX_PIXELS
from chromaflow.settings.system import SIZE

PICTURES = 8
SIDE, GAP = 128, 4


@dataclass(frozen=True)
class Strips:
    """The pictures of a system.

    Attributes:
        system: Name of a recipe or baseline.
        held_out: Strip of held-out photographs; file name.
        own: Strip of the user's photographs; None for the truth, and where there are none.
    """

    system: str
    held_out: str
    own: str | None


def read_lightness(path: Path) -> Tensor:
    """Lightness (1, 1, h, w), 0..100, of a photograph, at the size at which models see it.

    Raises:
        DataError: The file is not a photograph that can be read.
    """
    grey = shrunk(read_photo(path, MAX_PIXELS).grey, SIZE)
    return torch.from_numpy(lightness_of_levels(grey.dtype)[grey])[None, None]


def _held_out(project: Project) -> Iterator[tuple[Tensor, Tensor]]:
    """Lightness and ab of a few held-out photographs, always the same."""
    test = project.lab / "test"
    shown = set(choose([name for name, _ in read_split(test)], PICTURES))
    for name, pixels in read_split(test):
        if name in shown:
            yield resize_square(pixels, SIZE)


@torch.inference_mode()
def strip(predictor: Predictor, photographs: Sequence[Tensor]) -> Image.Image:
    """Photographs in a row as a system colors them.

    Args:
        predictor: Lightness (1, 1, H, W) to ab.
        photographs: Lightness (1, 1, H, W) of each, 0..100.
    """
    columns = []
    for lightness in photographs:
        rgb = lab_to_rgb(join(lightness, predictor(lightness).float()))[0].permute(1, 2, 0)
        pixels: NDArray[np.uint8] = (255 * rgb).round().byte().numpy()
        size = max(1, round(SIDE * pixels.shape[1] / pixels.shape[0])), SIDE
        columns.append(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    width = sum(column.width + GAP for column in columns) - GAP
    whole, left = Image.new("RGB", (width, SIDE), "white"), 0
    for column in columns:
        whole.paste(column, (left, 0))
        left += column.width + GAP
    return whole


def write_strips(
    project: Project, rows: Sequence[Row], folder: Path, own: Sequence[Tensor] = ()
) -> list[Strips]:
    """Write the strips of the baselines, the truth, and each recipe into a folder.

    Args:
        project: The checkout; `data/lab` is read.
        rows: Of the comparison.
        folder: A new one.
        own: Lightness of photographs of the user's, as of `read_lightness`.
    """
    held_out = list(_held_out(project))
    truths = iter([ab for _, ab in held_out])
    baselines: dict[str, Predictor] = {
        **{one.label: one.predictor(project.lab) for one in BASELINES.values()},
        "truth": lambda _: next(truths),
    }
    folder.mkdir()

    def save(name: str, predictor: Predictor, photographs: Sequence[Tensor]) -> str:
        path = folder / f"{name.replace(' ', '-')}.jpg"
        strip(predictor, photographs).save(path, quality=85)
        return path.name

    def strips(name: str, predictor: Predictor) -> Strips:
        first = save(name, predictor, [lightness for lightness, _ in held_out])
        second = save(f"{name}-own", predictor, own) if own and name != "truth" else None
        return Strips(name, first, second)

    trained = ((row.recipe, load_model(Path(row.folder) / "model").predict_ab) for row in rows)
    return [strips(name, predictor) for name, predictor in (*baselines.items(), *trained)]
