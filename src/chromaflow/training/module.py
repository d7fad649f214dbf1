"""How the network learns: loss, optimizer, schedule, averaged weights, validation."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from chromaflow.color.lab import join, lab_to_rgb
from chromaflow.color.stored import decode_stored
from chromaflow.errors import TrainingStoppedError
from chromaflow.metrics.colorfulness import colorfulness
from chromaflow.models.colorizer import Colorizer
from chromaflow.settings import Training
from chromaflow.training.data import Batch
from chromaflow.training.losses import find_loss


def rate_at(step: int, steps: int, warmup: float) -> float:
    """The learning rate over its peak: a straight rise, then half a cosine down to zero.

    Args:
        step: Optimizer steps taken.
        steps: Of the whole training.
        warmup: Share of them in which the rate rises.
    """
    rise = warmup * steps
    if step < rise:
        return min(1.0, (step + 1) / rise)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


_Tensors = tuple[Tensor, ...] | list[Tensor]


class _MovingAverage:
    """Exponential moving average that follows quickly at first, when the weights still run.

    Whole numbers, such as counts of batches, are taken over as they are.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay

    def __call__(self, averages: _Tensors, currents: _Tensors, count: Tensor | int) -> None:
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, currents)
            return
        decay = min(self._decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averages, currents, 1 - decay)


class ColorizerTraining(pl.LightningModule):
    """Trains a colorizer on stored Lab crops.

    Args:
        model: The colorizer; its weights change.
        training: The settings.
        pretrained: The network's `encoder` learns at `training.encoder_rate` times the rate of
            the rest; a rate of 0 freezes it.

    Attributes:
        averaged: The colorizer with the averaged weights, which validates and is saved.

    Raises:
        SettingsError: The loss is unknown.
    """

    def __init__(self, model: Colorizer, training: Training, *, pretrained: bool) -> None:
        super().__init__()
        self.model = model.train()
        self._training, self._pretrained = training, pretrained
        self._loss = find_loss(training.loss)
        average = _MovingAverage(training.ema)
        self._average = AveragedModel(model.network, multi_avg_fn=average, use_buffers=True)
        self._average.requires_grad_(requires_grad=False)
        self.averaged = Colorizer(self._average.module, model.codebook).eval()
        if pretrained and training.encoder_rate == 0:
            self._encoder().requires_grad_(requires_grad=False)
        if training.compile:
            model.network.compile()

    def _encoder(self) -> nn.Module:
        return self.model.network.get_submodule("encoder")

    def _loss_of(self, logits: Tensor, ab: Tensor) -> Tensor:
        # The color of an output pixel is the mean over the area that it stands for.
        return self._loss(logits, F.avg_pool2d(ab, self.model.stride), self.model.codebook)

    def training_step(self, batch: Batch) -> Tensor:
        """The loss of a batch.

        Raises:
            TrainingStoppedError: It is not a finite number.
        """
        lightness, ab = decode_stored(batch.pixels)
        loss = self._loss_of(self.model(lightness), ab)
        if not math.isfinite(float(loss.detach())):
            ids = ", ".join(batch.ids[:5]) + (" …" if len(batch.ids) > 5 else "")
            raise TrainingStoppedError(
                f"the loss of step {self.global_step + 1} is {float(loss.detach())}, "
                f"on images {ids}.",
                f"lower training.learning_rate ({self._training.learning_rate:g}) or training.clip "
                f"({self._training.clip:g}), and run chromaflow train again",
            )
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and average the weights."""
        super().optimizer_step(*args, **kwargs)
        self._average.update_parameters(self.model.network)

    def validation_step(self, batch: Batch) -> None:
        """Log loss, color error and colorfulness of the averaged weights on a batch."""
        lightness, ab = decode_stored(batch.pixels)
        logits = self.averaged(lightness)
        predicted = self.averaged.color(logits)
        values = {
            "validation_loss": self._loss_of(logits, ab),
            "validation_ab_error": torch.hypot(*(predicted - ab).unbind(1)).mean(),
            "validation_colorfulness": colorfulness(lab_to_rgb(join(lightness, predicted))).mean(),
        }
        self.log_dict(values, batch_size=len(batch.ids), sync_dist=True, logger=False)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, the pretrained encoder at a lower rate; one cycle of warm-up and cosine."""
        training = self._training
        encoder = {id(p) for p in self._encoder().parameters()} if self._pretrained else set()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if id(p) not in encoder]},
            {
                "params": [p for p in parameters if id(p) in encoder],
                "lr": training.learning_rate * training.encoder_rate,
            },
        ]
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            # Beside mixed precision Lightning clips no gradients for a fused step.
            fused=training.precision == "32-true",
        )
        schedule = LambdaLR(optimizer, lambda s: rate_at(s, training.steps, training.warmup))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
