"""Losses by name, and their weighted sum."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from chromaflow.settings import Training
from chromaflow.training.adversary import Adversary
from chromaflow.training.losses.bins import cross_entropy, kl
from chromaflow.training.losses.context import Step
from chromaflow.training.losses.pictures import Perceptual, colorfulness
from chromaflow.training.losses.regression import huber, l1, l2
from chromaflow.training.losses.scene import scene
from chromaflow.training.losses.suggestions import suggestions

__all__ = ["LOSSES", "Loss", "Losses", "Step"]

Loss = Callable[[Step], Tensor]
"""A step to a scalar, the mean over its pixels."""

LOSSES: dict[str, Callable[[Training], Loss]] = {
    "cross_entropy": lambda _: cross_entropy,
    "kl": lambda _: kl,
    "l2": lambda _: l2,
    "l1": lambda _: l1,
    "huber": lambda training: huber(training.huber_threshold),
    "adversarial": Adversary,
    "perceptual": lambda training: Perceptual(
        training.perceptual_backbone, training.perceptual_weights
    ),
    "colorfulness": lambda _: colorfulness,
    "scene": lambda _: scene,
    "suggestions": lambda _: suggestions,
}
"""What makes each loss of the settings; a loss that learns is an `nn.Module`."""


class Losses(nn.Module):
    """The losses of a recipe, each with its weight.

    Args:
        training: Its `losses`, and the settings of each.

    Attributes:
        adversary: The adversarial loss, None where the recipe has none.

    Raises:
        ModelError: The weights of a network that a loss needs cannot be had.
    """

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._weights = {str(name): weight for name, weight in training.losses.items()}
        self._losses: dict[str, Loss] = {name: LOSSES[name](training) for name in self._weights}
        found = self._losses.get("adversarial")
        self.adversary = found if isinstance(found, Adversary) else None

    def forward(self, step: Step, *, of_fit: bool = False) -> dict[str, Tensor]:
        """Each loss by name, unweighted, and under "loss" their weighted sum.

        Args:
            step: The batch.
            of_fit: Leave the adversarial one out: how well its adversary is deceived says nothing
                of how near the color is.

        Raises:
            SettingsError: A loss that does not fit codebook or network.
        """
        names = [name for name in self._losses if not (of_fit and name == "adversarial")]
        values = {name: self._losses[name](step) for name in names}
        total = torch.stack([self._weights[name] * value for name, value in values.items()]).sum()
        return {**values, "loss": total}
