"""Constants of sRGB and CIE Lab for every conversion of the project; those of scikit-image.

`chromaflow.color.lab` converts tensors by them, `chromaflow.data.store.decode` the photographs that
train, and `chromaflow.colorize.join` those that are colored. How far these three may differ, a test
of this module holds.
"""

import numpy as np
from numpy.typing import NDArray

XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB to XYZ, D65."""
WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of D65 for the 2° observer; the sums of the rows above differ from it by 8e-5 at most."""


def linear_from_srgb(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light of gamma-encoded sRGB, 0..1 both (IEC 61966-2-1).

    >>> linear_from_srgb(np.array([0.0, 0.5, 1.0])).round(4)
    array([0.   , 0.214, 1.   ])
    """
    power = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(encoded > 0.04045, power, encoded / 12.92)
