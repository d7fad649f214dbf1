"""A fully connected conditional random field over color bins.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials",
NIPS 2011: mean field with Potts compatibility. Every pair of pixels is connected by a kernel that
is written out, so the picture is reduced first; the guided filter carries the change back.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from chromaflow.color.codebooks.grid import BINS
from chromaflow.refine import guided

PIXELS = 4096
"""Of the reduced picture, at most; the kernel holds their square."""
SIGMA_SPACE = 6.0
"""Pixels of the reduced picture."""
SIGMA_LIGHTNESS = 5.0
"""Units of L."""
SIGMA_COLOR = 20.0
"""CIE units: how surely a predicted color is that of its bin."""
STRENGTH = 3.0
"""Weight of the pairs against that of each pixel's own color."""
STEPS = 5


def _kernel(lightness: Tensor) -> Tensor:
    """Likeness of each pair of pixels of one image (1, h, w), (h·w, h·w); rows sum to 1."""
    height, width = lightness.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=lightness.device, dtype=lightness.dtype),
        torch.arange(width, device=lightness.device, dtype=lightness.dtype),
        indexing="ij",
    )
    places = torch.stack(
        (y / SIGMA_SPACE, x / SIGMA_SPACE, lightness[0] / SIGMA_LIGHTNESS), dim=-1
    ).reshape(-1, 3)
    kernel = torch.exp(-0.5 * torch.cdist(places, places).square()).fill_diagonal_(0)
    return kernel / kernel.sum(dim=1, keepdim=True).clamp(min=1e-6)


def mean_field(lightness: Tensor, ab: Tensor) -> Tensor:
    """The most likely bin of each pixel by mean field inference over the bins near the colors.

    Args:
        lightness: Of one image, (1, h, w), 0..100.
        ab: (2, h, w), CIE units.

    Returns:
        ab (2, h, w): the center of the bin, or the color as it was where its bin has not changed.
    """
    colors = ab.flatten(1).T
    centers = torch.tensor(BINS, device=ab.device, dtype=ab.dtype)
    distance = torch.cdist(colors, centers).square()
    # Bins that are nobody's nearest would only cost time.
    nearest = distance.argmin(dim=1)
    used = nearest.bincount().nonzero()[:, 0]
    unary = -distance[:, used] / (2 * SIGMA_COLOR**2)
    kernel, shares = _kernel(lightness), unary.softmax(dim=1)
    for _ in range(STEPS):
        shares = (unary + STRENGTH * (kernel @ shares)).softmax(dim=1)
    likeliest = used[shares.argmax(dim=1)]
    kept = (likeliest == nearest)[:, None]
    return torch.where(kept, colors, centers[likeliest]).T.reshape(ab.shape)


def refine(lightness: Tensor, ab: Tensor) -> Tensor:
    """Color in which like pixels agree, wherever they are near.

    Args:
        lightness: (B, 1, H, W), 0..100.
        ab: float32 (B, 2, H, W), CIE units.
    """
    height, width = ab.shape[-2:]
    scale = min(1.0, (PIXELS / (height * width)) ** 0.5)
    size = max(1, int(height * scale)), max(1, int(width * scale))
    small, color = (
        F.interpolate(planes, size, mode="bilinear", antialias=True) if scale < 1 else planes
        for planes in (lightness, ab.float())
    )
    change = torch.stack([mean_field(*pair) - pair[1] for pair in zip(small, color, strict=True)])
    if scale < 1:
        slope, offset = guided.coefficients(small, change, radius=2)
        slope, offset = (
            F.interpolate(planes, (height, width), mode="bilinear") for planes in (slope, offset)
        )
        change = slope * lightness + offset
    return ab + change
