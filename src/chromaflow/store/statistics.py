"""What the colors of the training split are, counted from its Lab shards."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from chromaflow.store.read import read_split


def ab_histogram(folder: Path) -> NDArray[np.int64]:
    """Count the pixels of a split by their ab.

    Args:
        folder: `data/lab/<split>`.

    Returns:
        int64 (256, 256): how many pixels have the color [a+128, b+128].

    Raises:
        DataError: The folder holds no Lab shards.
    """
    counts = np.zeros((256, 256), np.int64)
    for _, lab in read_split(folder):
        # Counted in float32: exact up to 2²⁴ pixels of one color in one image.
        counts += cv2.calcHist([lab], [1, 2], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    return counts


def describe(histogram: NDArray[np.int64]) -> dict[str, Any]:
    """Means of a histogram of ab, in CIE Lab units.

    Args:
        histogram: int64 (256, 256), indexed [a+128, b+128].

    Returns:
        `pixels`, `mean_ab` ([a, b]) and `mean_chroma`, rounded to six decimals so that the order
        of a sum does not show.
    """
    pixels = int(histogram.sum())
    axis = np.arange(-128, 128)
    a = int(histogram.sum(axis=1) @ axis) / pixels
    b = int(histogram.sum(axis=0) @ axis) / pixels
    chroma = float((histogram * np.hypot(axis[:, None], axis[None, :])).sum()) / pixels
    return {
        "pixels": pixels,
        "mean_ab": [round(a, 6), round(b, 6)],
        "mean_chroma": round(chroma, 6),
    }
