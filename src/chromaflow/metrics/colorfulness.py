"""Colorfulness in its two variants, both on the scale of 8-bit values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chromaflow.metrics.base import Metric, checked

if TYPE_CHECKING:
    from torch import Tensor


def _opponents(rgb: Tensor) -> tuple[Tensor, Tensor]:
    (rgb,) = checked(3, rgb)
    red, green, blue = (255 * rgb).flatten(2).unbind(1)
    return red - green, 0.5 * (red + green) - blue


def _spread_and_mean(first: Tensor, second: Tensor) -> Tensor:
    import torch

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

    Example:
        >>> red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(2, 3, 8, 8)
        >>> colorfulness(red)  # no spread: 0.3 · hypot(255, 127.5)
        tensor([85.5296, 85.5296])
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

    Example:
        Red beside cyan differs in sign, so that it spreads though its absolute values do not:

        >>> pair = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).reshape(1, 3, 1, 2)
        >>> bool(colorfulness_hasler(pair) > 2 * colorfulness(pair))
        True
    """
    return _spread_and_mean(*_opponents(rgb))


COLORFULNESS = Metric(
    name="colorfulness",
    label="Colorfulness",
    unit="points of colorfulness",
    direction="none",
    decimals=1,
    meaning="How vivid, 0 to 255 (absolute differences): the ground truth's value is the goal.",
    per_image=lambda it: colorfulness(it.predicted.rgb),
)
COLORFULNESS_DIFFERENCE = Metric(
    name="colorfulness_difference",
    label="Δ colorfulness",
    unit="points of colorfulness",
    direction="lower",
    decimals=1,
    meaning="Difference between the mean colorfulness and the ground truth's.",
    difference_of="colorfulness",
)
COLORFULNESS_HASLER = Metric(
    name="colorfulness_hasler",
    label="Colorfulness, 2003",
    unit="points of colorfulness of 2003",
    direction="none",
    decimals=1,
    meaning="By the formula of Hasler and Süsstrunk, signed differences.",
    per_image=lambda it: colorfulness_hasler(it.predicted.rgb),
)
