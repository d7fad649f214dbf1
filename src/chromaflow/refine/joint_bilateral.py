"""The joint bilateral filter: color averaged over near pixels of like lightness.

Petschnigg et al., "Digital Photography with Flash and No-Flash Image Pairs", SIGGRAPH 2004; as
refinement of color Cheng, Yang and Sheng, "Deep Colorization", ICCV 2015.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 5
"""Pixels from the middle of a window to its side."""
SIGMA_SPACE = 3.0
"""Pixels."""
SIGMA_LIGHTNESS = 6.0
"""Units of L."""


def refine(lightness: Tensor, ab: Tensor) -> Tensor:
    """Color averaged over each pixel's window, weighted by nearness and likeness of lightness.

    Args:
        lightness: (B, 1, H, W), 0..100.
        ab: float32 (B, 2, H, W), CIE units.
    """
    height, width = ab.shape[-2:]
    margin = (RADIUS,) * 4
    # Pixels beyond the picture are so unlike that they weigh nothing.
    guide = F.pad(lightness, margin, value=math.inf)
    color = F.pad(ab, margin)
    total, weights = torch.zeros_like(ab), torch.zeros_like(lightness)
    for y in range(2 * RADIUS + 1):
        for x in range(2 * RADIUS + 1):
            square = (y - RADIUS) ** 2 + (x - RADIUS) ** 2
            near = guide[..., y : y + height, x : x + width]
            weight = torch.exp(
                -square / (2 * SIGMA_SPACE**2)
                - (near - lightness).square() / (2 * SIGMA_LIGHTNESS**2)
            )
            total += weight * color[..., y : y + height, x : x + width]
            weights += weight
    return total / weights
