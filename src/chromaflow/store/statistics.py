"""What the colors of stored images are, counted while they are written."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# A float32 counts exactly up to here.
_EXACT = 2**24


def count(images: Iterable[NDArray[np.uint8]], colors: NDArray[np.int64]) -> None:
    """Add the pixels of stored images to a count of colors.

    Args:
        images: uint8 (H, W, 3), stored Lab, each of less than 2²⁴ pixels of one color.
        colors: int64 (256, 256): how many pixels have the color [a+128, b+128].
    """
    # OpenCV counts in float32.
    part = np.zeros((256, 256), np.float32)
    pixels = 0
    for lab in images:
        pixels += lab.shape[0] * lab.shape[1]
        if pixels >= _EXACT:
            colors += part.astype(np.int64)
            part[:], pixels = 0, lab.shape[0] * lab.shape[1]
        cv2.calcHist([lab], [1, 2], None, [256, 256], [0, 256, 0, 256], part, accumulate=True)
    colors += part.astype(np.int64)


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
