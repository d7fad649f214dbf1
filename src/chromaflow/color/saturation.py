"""Saturation of sRGB pictures."""

import torch
from torch import Tensor


def saturation(rgb: Tensor) -> Tensor:
    """Saturation of HSV: (max − min) / max, and 0 for black.

    Args:
        rgb: sRGB, (B, 3, H, W), 0..1.

    Returns:
        (B, H, W), 0..1.

    Example:
        >>> pixels = torch.tensor([[1.0, 0.5, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
        >>> saturation(pixels.reshape(1, 3, 1, 3))  # a light red, grey, black
        tensor([[[0.5000, 0.0000, 0.0000]]])
    """
    low, high = rgb.aminmax(dim=1)
    return torch.where(high > 0, (high - low) / high.clamp(min=1e-8), 0)
