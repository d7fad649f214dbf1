"""Losses of classification, on every codebook of bins."""

from collections.abc import Iterator

import torch
from torch import Tensor

from chromaflow.color.codebooks.bins import SoftBins
from chromaflow.errors import SettingsError
from chromaflow.training.losses.context import Step


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


def _groups(step: Step, loss: str) -> Iterator[tuple[Tensor, SoftBins]]:
    """Cross-entropy (B, h, w) and target of each group of bins."""
    codebook = step.model.codebook
    targets = codebook.encode(step.target_ab)
    if not isinstance(targets, tuple):
        raise SettingsError(
            f"the loss {loss} needs a codebook of bins, such as grid313, not {codebook.name}.",
            "set model.codebook or training.losses",
        )
    first = 0
    for logits, target in zip(codebook.split(step.logits), targets, strict=True):  # type: ignore[operator]
        yield softened_cross_entropy(logits, target, first), target
        first += logits.shape[1]


def cross_entropy(step: Step) -> Tensor:
    """Cross-entropy with a soft target, each pixel weighted by the rarity of its color.

    Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016, Eq. 2 and 3: the weight is
    that of the bin nearest to the true color. Groups of bins add up.

    Returns:
        The mean over pixels, a scalar.

    Raises:
        SettingsError: The codebook does not encode to bins.
    """
    groups = _groups(step, "cross_entropy")
    return torch.stack([(each * target.weights).mean() for each, target in groups]).sum()


def kl(step: Step) -> Tensor:
    """Kullback–Leibler divergence of the prediction from the soft target, weighted alike.

    Larsson, Maire and Shakhnarovich, "Learning Representations for Automatic Colorization", ECCV
    2016. It is the cross-entropy less the entropy of the target, so the gradient is the
    same, and 0 is the best that can be reached.

    Returns:
        The mean over pixels, a scalar.

    Raises:
        SettingsError: The codebook does not encode to bins.
    """
    parts = []
    for each, target in _groups(step, "kl"):
        entropy = -torch.xlogy(target.shares, target.shares).sum(dim=1)
        parts.append(((each - entropy) * target.weights).mean())
    return torch.stack(parts).sum()
