"""Structural similarity, Wang, Bovik, Sheikh and Simoncelli 2004."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chromaflow.metrics.base import Metric, checked

if TYPE_CHECKING:
    from torch import Tensor

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def _window_matrix(size: int, like: Tensor) -> Tensor:
    """The Gaussian window at every place where it fits whole, (size, size − 10)."""
    import torch

    offsets = torch.arange(_WINDOW, device=like.device, dtype=like.dtype) - _WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    column = torch.zeros(size, device=like.device, dtype=like.dtype)
    column[:_WINDOW] = window / window.sum()
    places = size - _WINDOW + 1
    return torch.stack([column.roll(place) for place in range(places)], dim=1)


def ssim(predicted: Tensor, true: Tensor) -> Tensor:
    """Structural similarity of pictures, the mean over the three channels of sRGB.

    As published: a Gaussian window of 11 pixels and σ = 1.5, only where it fits whole. (The
    function of torchmetrics averages over a reflected margin too.) The window is applied as two
    banded matrices, several times faster on a CPU than a convolution.

    Args:
        predicted: sRGB, (B, 3, H, W), 0..1, both sides at least 11.
        true: sRGB, of the same shape.

    Returns:
        −1..1, (B,); 1 for equal pictures.

    Raises:
        ValueError: Other shapes or types, or a side under 11.

    Example:
        >>> ramp = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
        >>> ssim(ramp, ramp), bool(ssim(ramp.flip(-1), ramp) < 0)
        (tensor([1.]), True)
    """
    import torch

    x, y = checked(3, predicted, true)
    height, width = y.shape[-2:]
    if min(height, width) < _WINDOW:
        raise ValueError(f"images must have sides of at least {_WINDOW}, not {height}×{width}")
    with torch.autocast(y.device.type, enabled=False):
        moments = torch.stack((x, y, x * x, y * y, x * y))
        means = _window_matrix(height, x).T @ (moments @ _window_matrix(width, x))
    mean_x, mean_y, square_x, square_y, product = means
    both = mean_x * mean_y
    squares = mean_x.square() + mean_y.square()
    luminance = (2 * both + _C1) / (squares + _C1)
    contrast = (2 * (product - both) + _C2) / (square_x + square_y - squares + _C2)
    similarity: Tensor = luminance * contrast
    return similarity.mean(dim=(1, 2, 3))


SSIM = Metric(
    name="ssim",
    label="SSIM",
    unit="of SSIM",
    direction="higher",
    decimals=3,
    meaning="Structural similarity; 1 is best.",
    per_image=lambda it: ssim(it.predicted.rgb, it.true.rgb),
)
