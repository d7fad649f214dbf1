"""What training and coloring are measured with, where weights decide nothing."""

import numpy as np
import torch
from skimage import data
from skimage.color import rgb2lab

from chromaflow.color.stored import ab_histogram, encode_stored
from chromaflow.colorize.predictor import Predictor
from chromaflow.data.store import chunks
from chromaflow.data.store.read import LabItem
from chromaflow.models import build_model
from chromaflow.project.paths import Project
from chromaflow.settings import Model

SIDE = 256
"""Of the tiles that train, pixels."""
WARM = 5
"""Steps of training before those that are timed."""


def untrained_predictor() -> Predictor:
    """The default network with random weights, on the CPU."""
    torch.manual_seed(0)
    model = build_model(Model.model_validate({"network": {"weights": "none"}})).eval()
    return Predictor(model, "untrained", model.size, torch.device("cpu"))


def write_shards(project: Project) -> None:
    """Write tiles of scikit-image's photographs as the train split of a checkout."""
    photographs = [getattr(data, name)() for name in ("astronaut", "coffee", "rocket", "chelsea")]
    tiles = [
        encode_stored(rgb2lab(photograph[y : y + SIDE, x : x + SIDE]))
        for photograph in photographs
        for y in range(0, photograph.shape[0] - SIDE + 1, 32)
        for x in range(0, photograph.shape[1] - SIDE + 1, 32)
    ]
    folder = project.lab / "train"
    folder.mkdir(parents=True)
    items = (LabItem(id=str(number), lab=tile) for number, tile in enumerate(tiles))
    chunks.write_index(folder, chunks.write(folder, "tiles", 2**26, items), 2**26)
    np.save(project.lab / "ab_histogram.npy", ab_histogram(np.stack(tiles)))
