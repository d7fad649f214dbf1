"""Global hints, which describe a whole picture: how common each color is, how saturated it is.

Training draws them from true colors, coloring reads them from what a user gives.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from chromaflow.color.codebooks.grid import BINS, Grid313
from chromaflow.color.lab import join, lab_to_rgb
from chromaflow.color.saturation import saturation

HISTOGRAM, SATURATION = slice(0, len(BINS) + 1), slice(len(BINS) + 1, len(BINS) + 3)
"""Where each global hint stands in `Hints.global_hints`, its indicator last."""
_SHRINK = 4


@functools.lru_cache(maxsize=4)
def _nearest_bins(device: torch.device) -> Grid313:
    return Grid313(neighbors=1).to(device)


def color_histogram(ab: Tensor) -> Tensor:
    """Share of each of the 313 bins: each pixel counts for the bin nearest to it.

    Args:
        ab: (B, 2, h, w), CIE units.

    Returns:
        float32 (B, 313), which sums to 1 over the bins.
    """
    (target,) = _nearest_bins(ab.device).encode(ab)
    nearest, bins = target.indices.flatten(1), len(BINS)
    # Whole numbers are counted, so that the order of the sums does not matter on a GPU either.
    images = torch.arange(len(ab), device=ab.device)[:, None]
    counts = torch.bincount((nearest + bins * images).flatten(), minlength=bins * len(ab))
    return counts.view(len(ab), bins).float() / nearest.shape[1]


def global_hints(lightness: Tensor, ab: Tensor) -> Tensor:
    """The complete global hints of pictures: histogram of ab at a quarter, mean HSV saturation.

    Zhang et al. 2017, Section 3.3; that a pixel counts for its nearest bin only is what the
    authors' code does.

    Args:
        lightness: (B, 1, H, W), 0..100; H and W at least 4.
        ab: (B, 2, H, W), CIE units.

    Returns:
        float32 (B, 316), as of `Hints.global_hints`, both indicators 1.
    """
    shares = color_histogram(F.avg_pool2d(ab, _SHRINK))
    mean = saturation(lab_to_rgb(join(lightness, ab))).mean(dim=(1, 2))[:, None]
    present = torch.ones_like(mean)
    return torch.cat((shares, present, mean, present), dim=1)
