"""The color difference CIEDE2000."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chromaflow.metrics.base import Metric, checked

if TYPE_CHECKING:
    from torch import Tensor


def _adjusted_hue_and_chroma(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Hue in radians and chroma of both, (2, B, H, W), with a stretched for colors near grey."""
    import torch

    both = torch.stack((first, second))
    a, b = both[:, :, 1], both[:, :, 2]
    power = torch.hypot(a, b).mean(dim=0) ** 7
    a = a * (1.5 - 0.5 * torch.sqrt(power / (power + 25.0**7)))
    return torch.atan2(b, a) % (2 * math.pi), torch.hypot(a, b)


def _rotation(chroma: Tensor, hue: Tensor) -> Tensor:
    import torch

    angle = math.radians(30) * torch.exp(-(((torch.rad2deg(hue) - 275) / 25) ** 2))
    power: Tensor = chroma**7
    return -2 * torch.sqrt(power / (power + 25.0**7)) * torch.sin(2 * angle)


def ciede2000(first: Tensor, second: Tensor) -> Tensor:
    """CIEDE2000 of each pixel, after Sharma, Wu and Dalal, Color Research & Application 2005.

    Args:
        first: Lab, (B, 3, H, W).
        second: Lab, of the same shape.

    Returns:
        (B, H, W), from 0; about 1 is just visible.

    Raises:
        ValueError: Other shapes or types.

    Example:
        One of the published pairs, table 1 of the paper:

        >>> first, second = ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5))
        >>> both = (torch.tensor(color).reshape(1, 3, 1, 1) for color in (first, second))
        >>> round(ciede2000(*both).item(), 4)
        4.3065
    """
    import torch

    first, second = checked(3, first, second)
    (hue, other_hue), (chroma, other_chroma) = _adjusted_hue_and_chroma(first, second)
    # A grey has no hue: it takes part in neither the difference nor the mean.
    colored = chroma * other_chroma > 0
    turn = other_hue - hue
    wrapped = turn.abs() > math.pi
    turn = torch.where(wrapped, turn - 2 * math.pi * turn.sign(), turn)
    turn = torch.where(colored, turn, 0)
    total = hue + other_hue
    around = torch.where(total < 2 * math.pi, total + 2 * math.pi, total - 2 * math.pi)
    mean_hue = torch.where(colored, torch.where(wrapped, around, total) / 2, total)

    lightness = (first[:, 0] + second[:, 0]) / 2 - 50
    mean_chroma = (chroma + other_chroma) / 2
    shape = (
        1
        - 0.17 * torch.cos(mean_hue - math.radians(30))
        + 0.24 * torch.cos(2 * mean_hue)
        + 0.32 * torch.cos(3 * mean_hue + math.radians(6))
        - 0.20 * torch.cos(4 * mean_hue - math.radians(63))
    )
    scale = 1 + 0.015 * lightness**2 / torch.sqrt(20 + lightness**2)
    by_lightness = (second[:, 0] - first[:, 0]) / scale
    by_chroma = (other_chroma - chroma) / (1 + 0.045 * mean_chroma)
    arc = 2 * torch.sqrt(chroma * other_chroma) * torch.sin(turn / 2)
    by_hue = arc / (1 + 0.015 * mean_chroma * shape)
    cross = _rotation(mean_chroma, mean_hue) * by_chroma * by_hue
    square: Tensor = by_lightness.square() + by_chroma.square() + by_hue.square() + cross
    return square.clamp(min=0).sqrt()


def delta_e_2000(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean CIEDE2000 over the pixels of each image.

    Args:
        predicted: Lab, (B, 3, H, W).
        true: Lab, of the same shape.

    Returns:
        (B,), from 0.

    Raises:
        ValueError: Other shapes or types.

    Example:
        >>> grey = torch.tensor([50.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(2, 3, 4, 4)
        >>> delta_e_2000(grey, grey)
        tensor([0., 0.])
    """
    return ciede2000(predicted, true).mean(dim=(1, 2))


DELTA_E_2000 = Metric(
    name="delta_e_2000",
    label="ΔE 2000",
    unit="ΔE2000",
    direction="lower",
    decimals=1,
    meaning="Perceived color difference; about 1 is just noticeable.",
    per_image=lambda it: delta_e_2000(it.predicted.lab, it.true.lab),
)
