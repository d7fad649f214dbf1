"""The network's suggested colors, Zhang et al. 2017."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from chromaflow.color.codebooks.grid import Grid529
from chromaflow.errors import SettingsError
from chromaflow.training.losses.bins import softened_cross_entropy
from chromaflow.training.losses.context import Step


@functools.lru_cache(maxsize=4)
def _bins(device: torch.device) -> Grid529:
    return Grid529(neighbors=5, sigma=5.0).to(device)


def suggestions(step: Step) -> Tensor:
    """Cross-entropy of the suggested distribution over 529 bins with the true color.

    Zhang et al., "Real-Time User-Guided Image Colorization with Learned Deep Priors", 2017,
    Section 3.2. The truth is encoded softly over its 5 nearest bins with σ = 5, as in the paper of
    2016 that it follows; all pixels weigh alike, since it does not speak of rebalancing.

    Returns:
        The mean over pixels, a scalar.

    Raises:
        SettingsError: The network suggests nothing.
    """
    logits = step.outputs.extras.get("suggestions")
    if logits is None:
        raise SettingsError(
            "the loss suggestions needs a network that suggests colors, such as zhang2017, not "
            f"{step.model.network.name}.",
            "set model.network or training.losses",
        )
    height, width = logits.shape[-2:]
    true_ab = F.adaptive_avg_pool2d(step.true_ab, (height, width))
    (target,) = _bins(true_ab.device).encode(true_ab)
    return softened_cross_entropy(logits, target, 0).mean()
