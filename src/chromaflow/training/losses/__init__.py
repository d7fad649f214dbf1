"""Losses by name, and their weighted sum."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from chromaflow.settings import Training
from chromaflow.training.losses.bins import cross_entropy
from chromaflow.training.losses.step import Step

__all__ = ["LOSSES", "Loss", "Losses", "Step"]

Loss = Callable[[Step], Tensor]
"""A step to a scalar, the mean over its pixels."""

LOSSES: dict[str, Callable[[Training], Loss]] = {
    "cross_entropy": lambda _: cross_entropy,
}
"""What makes each loss of the settings; a loss with weights of its own is an `nn.Module`."""


class Losses(nn.Module):
    """The losses of a recipe, each with its weight.

    Args:
        training: Its `losses`, and the settings of each.

    Raises:
        ModelError: The weights of a network that a loss needs cannot be had.
    """

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._weights = {str(name): weight for name, weight in training.losses.items()}
        self._losses: dict[str, Loss] = {name: LOSSES[name](training) for name in training.losses}
        modules = {n: loss for n, loss in self._losses.items() if isinstance(loss, nn.Module)}
        self.modules_of_losses = nn.ModuleDict(modules)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Each loss by name, unweighted, and under "loss" their weighted sum.

        Raises:
            SettingsError: A loss that does not fit the codebook.
        """
        values: dict[str, Tensor] = {name: loss(step) for name, loss in self._losses.items()}
        total = torch.stack([self._weights[name] * value for name, value in values.items()]).sum()
        return {**values, "loss": total}
