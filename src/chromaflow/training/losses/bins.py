"""Losses of classification, on every codebook of bins."""

import torch
from torch import Tensor

from chromaflow.color.bins import SoftBins
from chromaflow.errors import SettingsError
from chromaflow.training.losses.step import Step


def softened_cross_entropy(logits: Tensor, target: SoftBins, first: int) -> Tensor:
    """Cross-entropy of one group's logits with a soft target, each pixel by itself.

    The target, zero but for a few bins, is never written out: with shares q that sum to 1 the
    cross-entropy is logsumexp(z) − Σ q·z.

    Args:
        logits: Of the group, (B, bins, h, w).
        target: Over the channels of all groups.
        first: Channel of the group's first bin.

    Returns:
        float32 (B, h, w).
    """
    logits = logits.float()
    chosen = (logits.gather(1, target.indices - first) * target.shares).sum(dim=1)
    return torch.logsumexp(logits, dim=1) - chosen


def _targets(step: Step, name: str) -> tuple[SoftBins, ...]:
    targets = step.model.codebook.encode(step.target_ab)
    if not isinstance(targets, tuple):
        raise SettingsError(
            f"the loss {name} needs a codebook of bins, such as grid313, not "
            f"{step.model.codebook.name}.",
            "set model.codebook or training.losses",
        )
    return targets


def cross_entropy(step: Step) -> Tensor:
    """Cross-entropy with a soft target, each pixel weighted by the rarity of its color.

    Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016, Eq. 2 and 3: the weight is
    that of the bin nearest to the true color. Groups of bins add up.

    Returns:
        The mean over pixels, a scalar.

    Raises:
        SettingsError: The codebook does not encode to bins.
    """
    total, first = step.logits.new_zeros((), dtype=torch.float32), 0
    targets = _targets(step, "cross_entropy")
    for logits, target in zip(step.model.codebook.split(step.logits), targets, strict=True):  # type: ignore[operator]
        total = total + (softened_cross_entropy(logits, target, first) * target.weights).mean()
        first += logits.shape[1]
    return total
