"""Pictures of the evaluation: grey, predicted and true side by side."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chromaflow.color.lab import join, lab_to_rgb
from chromaflow.data.store.read import read_split
from chromaflow.evaluation.measure import resize_square
from chromaflow.models.colorizer import Colorizer


def choose(ids: Sequence[str], count: int) -> list[str]:
    """Ids spread evenly over the sorted ids, always the same; all of them where there are fewer."""
    if count < 1:
        return []
    places = np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int)
    in_order = sorted(ids)
    return [in_order[place] for place in places]


def strip(lightness: Tensor, predicted_ab: Tensor, true_ab: Tensor) -> NDArray[np.uint8]:
    """One image thrice: grey, with the predicted color, with the true one.

    Args:
        lightness: (1, 1, H, W), 0..100.
        predicted_ab: (1, 2, H, W), CIE units.
        true_ab: Of the same shape.

    Returns:
        sRGB, uint8 (H, 3·W, 3).
    """
    colors = torch.cat((torch.zeros_like(true_ab), predicted_ab, true_ab), dim=-1)
    rgb = lab_to_rgb(join(lightness.repeat(1, 1, 1, 3), colors))[0].permute(1, 2, 0)
    pixels: NDArray[np.uint8] = (255 * rgb).round().byte().cpu().numpy()
    return pixels


@torch.inference_mode()
def write_pictures(
    model: Colorizer,
    lab_folder: Path,
    ids: Sequence[str],
    size: int,
    folder: Path,
) -> None:
    """Write a strip `NN-<id>.png` for each of the ids, numbered in their order.

    Args:
        model: In evaluation mode; it predicts on the device where it is.
        lab_folder: Lab shards of the split.
        ids: Images of the split.
        size: Side of the square to which every image is resized, pixels.
        folder: Where to write; made if it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not ids:
        return
    device = next(model.parameters()).device
    numbers = {id_: number for number, id_ in enumerate(ids, start=1)}
    for id_, pixels in read_split(lab_folder):
        if id_ not in numbers:
            continue
        lightness, ab = (image.to(device) for image in resize_square(pixels, size))
        # An id may hold what a file name must not.
        name = re.sub(r"[^A-Za-z0-9._-]", "_", id_)[:100]
        path = folder / f"{numbers[id_]:02d}-{name}.png"
        Image.fromarray(strip(lightness, model.predict_ab(lightness).float(), ab)).save(path)
