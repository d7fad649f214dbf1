"""Saturation difference, Hwang and Zhou 2016."""

import torch
from torch import Tensor

from chromaflow.metrics.base import MeanOverImages, check_images


def saturation(rgb: Tensor) -> Tensor:
    """Saturation of HSV: (max − min) / max, and 0 for black.

    Args:
        rgb: sRGB, (B, 3, H, W), 0..1.

    Returns:
        (B, H, W), 0..1.

    Raises:
        ValueError: Another shape or type.
    """
    check_images(3, rgb)
    low, high = rgb.aminmax(dim=1)
    return torch.where(high > 0, (high - low) / high.clamp(min=1e-8), 0)


def saturation_difference(predicted: Tensor, true: Tensor) -> Tensor:
    """How far the whole saturation of a picture is off: abs(ΣS_predicted − ΣS_true) / ΣS_true.

    Where the truth is grey through and through, the mean saturation of the prediction.

    Args:
        predicted: sRGB, (B, 3, H, W), 0..1.
        true: sRGB, of the same shape.

    Returns:
        (B,), from 0.

    Raises:
        ValueError: Other shapes or types.
    """
    check_images(3, predicted, true)
    got = saturation(predicted).mean(dim=(1, 2))
    wanted = saturation(true).mean(dim=(1, 2))
    return (got - wanted).abs() / torch.where(wanted > 0, wanted, 1)


class SaturationDifference(MeanOverImages):
    """Mean of `saturation_difference` over images."""

    per_image = staticmethod(saturation_difference)
    higher_is_better = False
