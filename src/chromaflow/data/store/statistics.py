"""What the colors of stored images are, counted while they are written."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# A float32 counts exactly up to here.
_EXACT = 2**24


class ColorCount:
    """Counts the colors of stored images, each right after it was made."""

    def __init__(self) -> None:
        self._total = np.zeros((256, 256), np.int64)
        # OpenCV counts in float32.
        self._part = np.zeros((256, 256), np.float32)
        self._pixels = 0

    def add(self, lab: NDArray[np.uint8]) -> None:
        """Count the pixels of an image.

        Args:
            lab: uint8 (H, W, 3), stored Lab, of less than 2²⁴ pixels of one color.
        """
        self._pixels += lab.shape[0] * lab.shape[1]
        if self._pixels >= _EXACT:
            self._empty()
            self._pixels = lab.shape[0] * lab.shape[1]
        cv2.calcHist([lab], [1, 2], None, [256, 256], [0, 256, 0, 256], self._part, accumulate=True)

    def _empty(self) -> None:
        self._total += self._part.astype(np.int64)
        self._part[:], self._pixels = 0, 0

    def total(self) -> NDArray[np.int64]:
        """How many pixels have the color [a+128, b+128] so far, int64 (256, 256)."""
        self._empty()
        return self._total


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
