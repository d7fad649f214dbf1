"""Colorfulness in its two variants, both on the scale of 8-bit values."""

import torch
from torch import Tensor

from chromaflow.metrics.base import MeanOverImages, check_images


def _opponents(rgb: Tensor) -> tuple[Tensor, Tensor]:
    check_images(3, rgb)
    red, green, blue = (255 * rgb).flatten(2).unbind(1)
    return red - green, 0.5 * (red + green) - blue


def _spread_and_mean(first: Tensor, second: Tensor) -> Tensor:
    spread = torch.hypot(first.std(dim=1, correction=0), second.std(dim=1, correction=0))
    return spread + 0.3 * torch.hypot(first.mean(dim=1), second.mean(dim=1))


def colorfulness(rgb: Tensor) -> Tensor:
    """Colorfulness as the recent tables compute it: from the absolute opponent differences.

    With rg = abs(R − G) and yb = abs(0.5·(R + G) − B): hypot(σ_rg, σ_yb) + 0.3·hypot(μ_rg, μ_yb).

    Args:
        rgb: sRGB, (B, 3, H, W), 0..1.

    Returns:
        (B,), 0 for grey; photographs about 10..80.

    Raises:
        ValueError: Another shape or type.
    """
    red_green, yellow_blue = _opponents(rgb)
    return _spread_and_mean(red_green.abs(), yellow_blue.abs())


def colorfulness_hasler(rgb: Tensor) -> Tensor:
    """Colorfulness as Hasler and Süsstrunk defined it in 2003: from the signed differences.

    Args:
        rgb: sRGB, (B, 3, H, W), 0..1.

    Returns:
        (B,), 0 for grey; their viewers called 33 moderately and 82 highly colorful.

    Raises:
        ValueError: Another shape or type.
    """
    return _spread_and_mean(*_opponents(rgb))


class Colorfulness(MeanOverImages):
    """Mean of `colorfulness` over images."""

    per_image = staticmethod(colorfulness)


class HaslerColorfulness(MeanOverImages):
    """Mean of `colorfulness_hasler` over images."""

    per_image = staticmethod(colorfulness_hasler)
