"""Area under the curve of accuracy over the allowed error, Zhang et al. 2016."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chromaflow.metrics.base import Metric, checked

if TYPE_CHECKING:
    from torch import Tensor

_THRESHOLDS = 151  # 0, 1, …, 150


def auc(predicted_ab: Tensor, true_ab: Tensor, weights: Tensor | None = None) -> Tensor:
    """Share of the pixels whose ab error is at most t, averaged over t = 0, 1, …, 150.

    A pixel of error e is right for the 151 − ⌈e⌉ thresholds from ⌈e⌉ on, so that the average over
    thresholds is a mean over pixels.

    Args:
        predicted_ab: (B, 2, H, W), CIE units.
        true_ab: Of the same shape.
        weights: What each pixel counts, (B, H, W), at least 0; the rebalanced metric gives the
            inverse frequency of the true color. An image of weight 0 gets 0.

    Returns:
        Percent, 0..100, (B,). To aggregate weighted images, weigh each by the sum of its weights.

    Raises:
        ValueError: Other shapes or types.

    Example:
        An error of 50.5 is right from the threshold of 51 on, for 100 of 151:

        >>> predicted = torch.tensor([0.0, 50.5]).reshape(1, 2, 1, 1)
        >>> round(auc(predicted, torch.zeros(1, 2, 1, 1)).item(), 3) == round(100 * 100 / 151, 3)
        True
    """
    import torch

    predicted_ab, true_ab = checked(2, predicted_ab, true_ab)
    error = torch.hypot(*(predicted_ab - true_ab).unbind(1))
    share = (_THRESHOLDS - error.ceil()).clamp(min=0) / _THRESHOLDS
    if weights is None:
        return 100 * share.mean(dim=(1, 2))
    if weights.shape != share.shape:
        raise ValueError(f"weights must be {tuple(share.shape)}, not {tuple(weights.shape)}")
    weights = weights.to(share.dtype)
    mass = weights.sum(dim=(1, 2))
    return 100 * (weights * share).sum(dim=(1, 2)) / mass.clamp(min=torch.finfo(mass.dtype).tiny)


AUC_REBALANCED = Metric(
    name="auc_rebalanced",
    label="AuC, rebalanced",
    unit="points of rebalanced AuC",
    direction="higher",
    decimals=1,
    meaning=(
        "How many pixels come close to their true color, at every tolerance from 0 to 150, in "
        "percent; rare colors count as much as common ones."
    ),
    weighting="pixels",
    per_image=lambda it: auc(it.predicted.ab, it.true.ab, it.weights),
)
AUC = Metric(
    name="auc",
    label="AuC",
    unit="points of AuC",
    direction="higher",
    decimals=1,
    meaning="The same with all pixels weighted equally: favors grey.",
    per_image=lambda it: auc(it.predicted.ab, it.true.ab),
)
