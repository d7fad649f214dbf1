"""Uniform color within segments of lightness.

Segments by SLIC, Achanta et al., "SLIC Superpixels", TPAMI 2012, by scikit-image.
"""

import numpy as np
import torch
from torch import Tensor

PIXELS = 100
"""Of a segment, about."""
COMPACTNESS = 0.1
"""Of segments: how much nearness counts against likeness of lightness, as scikit-image takes it."""


def refine(lightness: Tensor, ab: Tensor) -> Tensor:
    """The mean color of each segment at all of its pixels.

    Args:
        lightness: (B, 1, H, W), 0..100.
        ab: float32 (B, 2, H, W), CIE units.
    """
    from skimage.segmentation import slic  # noqa: PLC0415 (half a second)

    refined = torch.empty_like(ab)
    for image, color, out in zip(lightness, ab, refined, strict=True):
        grey = image[0].float().cpu().numpy() / 100
        count = max(1, round(grey.size / PIXELS))
        labels = slic(grey, count, COMPACTNESS, channel_axis=None, start_label=0)
        places = torch.from_numpy(np.ascontiguousarray(labels, np.int64)).to(ab.device).flatten()
        sums = torch.zeros(2, int(labels.max()) + 1, device=ab.device, dtype=ab.dtype)
        sums.index_add_(1, places, color.flatten(1))
        out.copy_((sums / places.bincount())[:, places].view_as(color))
    return refined
