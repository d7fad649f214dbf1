"""Peak signal-to-noise ratio."""

import torch
from torch import Tensor

from chromaflow.metrics.base import MeanOverImages, check_images


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
    """
    check_images(3, predicted, true)
    mean_square = (predicted - true).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(mean_square.clamp(min=1e-10))


class Psnr(MeanOverImages):
    """Mean of `psnr` over images."""

    per_image = staticmethod(psnr)
    higher_is_better = True
