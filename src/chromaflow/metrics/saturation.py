"""Saturation difference, Hwang and Zhou 2016."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chromaflow.metrics.base import Metric, checked

if TYPE_CHECKING:
    from torch import Tensor


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

    Example:
        >>> red = torch.tensor([1.0, 0.5, 0.5]).reshape(1, 3, 1, 1)
        >>> grey = torch.full((1, 3, 1, 1), 0.5)
        >>> saturation_difference(grey, red)  # none of it is left
        tensor([1.])
    """
    import torch

    from chromaflow.color.saturation import saturation

    predicted, true = checked(3, predicted, true)
    got = saturation(predicted).mean(dim=(1, 2))
    wanted = saturation(true).mean(dim=(1, 2))
    return (got - wanted).abs() / torch.where(wanted > 0, wanted, 1)


SATURATION_DIFFERENCE = Metric(
    name="saturation_difference",
    label="Saturation difference",
    unit="of the true saturation",
    direction="lower",
    decimals=2,
    meaning="Relative error of the sum of saturation; 0 is best.",
    per_image=lambda it: saturation_difference(it.predicted.rgb, it.true.rgb),
)
