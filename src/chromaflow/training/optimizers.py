"""Initialization, optimizer and schedule of a recipe."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from chromaflow.models.networks.base import Network
from chromaflow.settings import Training

_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def rate_at(step: int, training: Training) -> float:
    """The learning rate over its peak.

    one_cycle is a straight rise, then half a cosine down to zero; constant a rise and a level;
    drops the same, times `drop_factor` after each of `drops`.

    Args:
        step: Optimizer steps taken.
        training: Its `steps`, `schedule`, `warmup`, `drops` and `drop_factor` count.
    """
    steps, rise = training.steps, training.warmup * training.steps
    if step < rise:
        return min(1.0, (step + 1) / rise)
    if training.schedule == "one_cycle":
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
    if training.schedule == "drops":
        return float(training.drop_factor ** sum(step >= drop * steps for drop in training.drops))
    return 1.0


def backbone_learns(step: int, training: Training) -> bool:
    """Whether the backbone learns in this step, counted from 0."""
    return training.backbone_rate > 0 and step >= training.unfreeze * training.steps


def initialize(network: Network, how: str) -> None:
    """Draw the weights of convolutions and linear layers again, except those of the backbone.

    Args:
        network: Its biases become 0.
        how: "xavier": Glorot and Bengio 2010, uniform. "he": He et al. 2015, normal, fan in.
            "torch": leave each layer's own default.
    """
    if how == "torch":
        return
    spared = set(network.backbone.modules()) if network.backbone is not None else set()
    for module in network.modules():
        if isinstance(module, _LAYERS) and module not in spared:
            if how == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build_optimizer(
    training: Training, parameters: Iterable[Any], rate: float
) -> torch.optim.Optimizer:
    """The optimizer of the settings.

    Args:
        training: Its `optimizer`, `betas` and `weight_decay` count.
        parameters: Parameters or groups of them.
        rate: Peak of the learning rate.
    """
    first, second = training.betas
    # Beside mixed precision Lightning clips no gradients for a fused step.
    fused = training.precision == "32-true"
    decay = training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=first, weight_decay=decay, fused=fused)
    if training.optimizer == "adadelta":
        return torch.optim.Adadelta(parameters, rate, rho=first, weight_decay=decay)
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, rate, betas=(first, second), weight_decay=decay, fused=fused)


def build_schedule(
    training: Training, optimizer: torch.optim.Optimizer, *, backbone: int | None = None
) -> LambdaLR:
    """The schedule of the settings, by optimizer steps.

    Args:
        training: Its `schedule` and what belongs to it.
        optimizer: Of the network.
        backbone: Which of its groups is the backbone's, which rests until `unfreeze`.
    """

    def of_backbone(step: int) -> float:
        return rate_at(step, training) if backbone_learns(step, training) else 0.0

    def of_rest(step: int) -> float:
        return rate_at(step, training)

    groups = range(len(optimizer.param_groups))
    return LambdaLR(optimizer, [of_backbone if g == backbone else of_rest for g in groups])
