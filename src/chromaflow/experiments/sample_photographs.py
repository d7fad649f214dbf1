"""Eight photographs that every installation has, as Lab shards to train on."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.color import rgb2lab
from skimage.transform import resize

from chromaflow.color.stored import ab_histogram, encode_stored
from chromaflow.data.sources.sample import PHOTOGRAPHS
from chromaflow.data.store import chunks
from chromaflow.data.store.read import LabItem
from chromaflow.project.paths import Project

# Of the two views of one scene, one.
_NAMES = tuple(p.file for p in PHOTOGRAPHS if p.view in ("", "left,"))
_SHARD_BYTES = 2**24


def _square(path: Path, side: int) -> NDArray[np.uint8]:
    """The middle square of a photograph, stored Lab (side, side, 3)."""
    with Image.open(path) as image:
        rgb = np.asarray(image.convert("RGB"))
    short = min(rgb.shape[:2])
    top, left = (rgb.shape[0] - short) // 2, (rgb.shape[1] - short) // 2
    square = rgb[top : top + short, left : left + short] / 255
    return encode_stored(rgb2lab(resize(square, (side, side), anti_aliasing=True)))


def read_eight(side: int) -> dict[str, NDArray[np.uint8]]:
    """The middle squares of eight photographs of scikit-image's package, by name.

    Args:
        side: Of the squares, pixels.

    Returns:
        Stored Lab, uint8 (side, side, 3).
    """
    folder = Path(data.__file__).parent
    return {Path(name).stem: _square(folder / name, side) for name in _NAMES}


def write_lab(project: Project, photographs: dict[str, NDArray[np.uint8]]) -> None:
    """Write photographs as the train split of `data/lab`, each a kind of scene of its own.

    Args:
        project: Its `data/lab` must not exist.
        photographs: Stored Lab by id.
    """
    folder = project.lab / "train"
    folder.mkdir(parents=True)
    items = (LabItem(id=name, lab=lab) for name, lab in photographs.items())
    chunks.write_index(
        folder, chunks.write(folder, "photographs", _SHARD_BYTES, items), _SHARD_BYTES
    )
    chunks.write_labels(folder, list(photographs), range(len(photographs)))
    pixels = np.concatenate([lab.reshape(-1, 3) for lab in photographs.values()])
    np.save(project.lab / "ab_histogram.npy", ab_histogram(pixels))
    mean = (pixels[:, 1:].mean(axis=0) - 128).tolist()
    (project.lab / "statistics.json").write_text(json.dumps({"mean_ab": mean}))
