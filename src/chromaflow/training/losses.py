"""Losses by name, each on a network's output, the true color and the codebook between them."""

import difflib
from collections.abc import Callable

import torch
from torch import Tensor

from chromaflow.color.base import Codebook
from chromaflow.color.grid313 import SoftBins
from chromaflow.errors import SettingsError

Loss = Callable[[Tensor, Tensor, Codebook], Tensor]
"""(logits (B, channels, h, w), ab (B, 2, h, w) in CIE units, codebook) to a scalar."""


def cross_entropy(logits: Tensor, ab: Tensor, codebook: Codebook) -> Tensor:
    """Cross-entropy with a soft target, each pixel weighted by the rarity of its color.

    Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016, Eq. 2 and 3: the weight is
    that of the bin nearest to the true color. The target, zero but for a few bins, is never
    written out: with shares q that sum to 1 the cross-entropy is logsumexp(z) − Σ q·z.

    Args:
        logits: (B, channels, h, w).
        ab: (B, 2, h, w), CIE units.
        codebook: One that encodes to `SoftBins` and has `weights`, one a bin.

    Returns:
        The mean over pixels, a scalar.

    Raises:
        SettingsError: The codebook does not encode to bins.
    """
    target = codebook.encode(ab)
    if not isinstance(target, SoftBins):
        raise SettingsError(
            "training.loss cross_entropy needs a codebook of bins, such as grid313.",
            "set model.codebook or training.loss",
        )
    logits = logits.float()
    chosen = (logits.gather(1, target.indices) * target.weights).sum(dim=1)
    rarity: Tensor = codebook.weights[target.indices[:, 0]]  # type: ignore[index, assignment]
    return ((torch.logsumexp(logits, dim=1) - chosen) * rarity).mean()


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy}


def find_loss(name: str) -> Loss:
    """The loss of a name.

    Raises:
        SettingsError: There is none of that name; near ones are named.
    """
    if name not in LOSSES:
        near = difflib.get_close_matches(name, LOSSES, n=3, cutoff=0.4) or sorted(LOSSES)
        raise SettingsError(f"training.loss = {name!r} is unknown; did you mean {', '.join(near)}?")
    return LOSSES[name]
