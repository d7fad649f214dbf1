"""The guided filter: color as a linear function of lightness around each pixel.

He, Sun and Tang, "Guided Image Filtering", ECCV 2010.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 4
"""Pixels from the middle of a window to its side."""
SMOOTHING = 4.0
"""ε: a variance of lightness, in squared units of L, above which an edge is kept."""


def window_mean(planes: Tensor, radius: int) -> Tensor:
    """Mean over square windows, only of what lies within the picture.

    Args:
        planes: (B, C, H, W).
        radius: Pixels from the middle to the side.
    """
    side = 2 * radius + 1
    for kernel, margin in (((side, 1), (radius, 0)), ((1, side), (0, radius))):
        planes = F.avg_pool2d(planes, kernel, 1, margin, count_include_pad=False)
    return planes


def coefficients(
    lightness: Tensor, ab: Tensor, radius: int = RADIUS, smoothing: float = SMOOTHING
) -> tuple[Tensor, Tensor]:
    """The linear function around each pixel: color = slope · lightness + offset, Eq. 5, 6 and 8.

    At a small size they can be enlarged, and give the color of a large picture by its own
    lightness (He and Sun, "Fast Guided Filter", 2015).

    Args:
        lightness: (B, 1, H, W), 0..100.
        ab: (B, 2, H, W), CIE units.
        radius: Of the windows, pixels.
        smoothing: ε, in squared units of L.

    Returns:
        Slope and offset, both (B, 2, H, W).
    """
    # Less the mean: variances of float32 would lose half of their digits.
    middle = lightness.mean(dim=(2, 3), keepdim=True)
    guide = lightness - middle
    moments = window_mean(torch.cat((guide, guide * guide, ab, guide * ab), dim=1), radius)
    mean, square, color, product = (
        moments[:, first:last] for first, last in ((0, 1), (1, 2), (2, 4), (4, 6))
    )
    slope = (product - mean * color) / (square - mean * mean + smoothing)
    offset = color - slope * mean
    means = window_mean(torch.cat((slope, offset), dim=1), radius)
    slope, offset = means[:, :2], means[:, 2:]
    return slope, offset - slope * middle


def refine(lightness: Tensor, ab: Tensor) -> Tensor:
    """Color that follows the edges of lightness.

    Args:
        lightness: (B, 1, H, W), 0..100.
        ab: float32 (B, 2, H, W), CIE units.
    """
    slope, offset = coefficients(lightness, ab)
    return slope * lightness + offset
