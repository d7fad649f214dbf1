"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chromaflow.metrics.base import Metric, checked

if TYPE_CHECKING:
    from torch import Tensor


def psnr(predicted: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of pictures, the true lightness joined with the predicted color.

    Computed on float values without rounding to 8 bits. An image without error gets 100 dB.

    Args:
        predicted: sRGB, (B, 3, H, W), 0..1.
        true: sRGB, of the same shape.

    Returns:
        dB, (B,).

    Raises:
        ValueError: Other shapes or types.

    Example:
        >>> true = torch.full((2, 3, 4, 4), 0.5)
        >>> psnr(true + torch.tensor([0.0, 0.1]).reshape(2, 1, 1, 1), true)
        tensor([100.0000,  20.0000])
    """
    predicted, true = checked(3, predicted, true)
    mean_square = (predicted - true).square().mean(dim=(1, 2, 3))
    return -10 * mean_square.clamp(min=1e-10).log10()


PSNR = Metric(
    name="psnr",
    label="PSNR",
    unit="dB of PSNR",
    direction="higher",
    decimals=2,
    meaning="Pixel-wise similarity, in decibels; favors desaturated colors.",
    per_image=lambda it: psnr(it.predicted.rgb, it.true.rgb),
)
