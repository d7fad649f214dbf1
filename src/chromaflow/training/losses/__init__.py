"""Losses by name, and their weighted sum."""

from collections.abc import Callable
from typing import Any

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

LOSSES: dict[str, Callable[[Any, Training], Loss]] = {
    "cross_entropy": lambda *_: cross_entropy,
    "kl": lambda *_: kl,
    "l2": lambda *_: l2,
    "l1": lambda *_: l1,
    "huber": lambda own, _: huber(own.threshold),
    "perceptual": lambda own, _: Perceptual(own.backbone, own.backbone_weights),
    "adversarial": Adversary,
    "colorfulness": lambda *_: colorfulness,
    "scene": lambda *_: scene,
    "suggestions": lambda *_: suggestions,
}
"""What makes each loss, of its own settings and the training's; one that learns is a module."""


class Losses(nn.Module):
    """The losses of a recipe, each with its weight.

    Args:
        training: Its `losses`; some also ask for others of its settings.

    Attributes:
        adversary: The adversarial loss, None where the recipe has none.

    Raises:
        ModelError: The weights of a network that a loss needs cannot be had.
    """

    def __init__(self, training: Training) -> None:
        super().__init__()
        named = training.losses.named()
        self._weights = {name: own.weight for name, own in named.items()}
        self._losses: dict[str, Loss] = {
            name: LOSSES[name](own, training) for name, own in named.items()
        }
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
