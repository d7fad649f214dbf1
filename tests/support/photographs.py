"""Photographs to serve: pieces of those that scikit-image ships, or real sets.

Where the environment variable `CHROMAFLOW_TEST_DATA` names a folder, the real ones are read from
its `coco/images/*.jpg`, `imagenet/train/<wnid>/*.JPEG` and the zip archive of CVCL.
"""

import io
import os
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

CVCL = "spatial_envelope_256x256_static_8outdoorcategories.zip"
CASTLE = "n02980441"
PIECES = 60


def real() -> Path | None:
    """The folder of the real sets."""
    place = os.environ.get("CHROMAFLOW_TEST_DATA")
    return Path(place) if place else None


@lru_cache(maxsize=1)
def _photographs() -> list[NDArray[np.uint8]]:
    return [data.coffee(), data.astronaut(), data.chelsea(), data.rocket()]


@lru_cache(maxsize=4096)
def photograph(index: int, size: int = 72) -> bytes:
    """A JPEG file: a piece of one of scikit-image's photographs, another one for each index."""
    image = _photographs()[index % 4]
    rows, columns = image.shape[0] - size, image.shape[1] - size
    y, x = (37 * (index // 4)) % rows, (53 * (index // 4)) % columns
    buffer = io.BytesIO()
    Image.fromarray(image[y : y + size, x : x + size]).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@lru_cache(maxsize=1)
def _pieces() -> list[bytes]:
    """Pictures of which validation refuses the few that are grey: four pieces each."""
    generator = np.random.default_rng(0)
    made = []
    for number in range(PIECES):
        parts = []
        for image in _photographs():
            y, x = (generator.integers(0, side - 48) for side in image.shape[:2])
            channels = generator.permutation(3)
            parts.append(image[y : y + 48, x : x + 48][..., channels])
        picture = Image.fromarray(np.block([[[parts[0]], [parts[1]]], [[parts[2]], [parts[3]]]]))
        buffer = io.BytesIO()
        (picture.convert("L") if number % 30 == 7 else picture).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def coco() -> list[bytes]:
    """Photographs without a label."""
    if folder := real():
        return [path.read_bytes() for path in sorted((folder / "coco/images").iterdir())]
    return _pieces()


def imagenet() -> list[tuple[str, bytes]]:
    """Photographs with their category, castles among them."""
    if folder := real():
        files = sorted((folder / "imagenet/train").glob("*/*.JPEG"))
        return [(path.parent.name, path.read_bytes()) for path in files]
    wnids = ["n01440764", CASTLE, "n01443537"]
    return [(wnids[number % 3], piece) for number, piece in enumerate(_pieces())]


def cvcl() -> bytes:
    """The archive of CVCL in its published layout."""
    if folder := real():
        return (folder / CVCL).read_bytes()
    counts = {"opencountry": 36, "coast": PIECES - 36}
    names = [f"{category}_land{n}.jpg" for category, count in counts.items() for n in range(count)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, piece in zip(names, _pieces(), strict=True):
            archive.writestr(f"scenes/{name}", piece)
    return buffer.getvalue()
