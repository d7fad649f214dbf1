"""How the network learns: loss, optimizer, schedule, averaged weights, validation."""

import math
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from chromaflow.color.stored import decode_stored
from chromaflow.errors import TrainingStoppedError
from chromaflow.metrics.colorfulness import colorfulness
from chromaflow.models.colorizer import Colorizer
from chromaflow.models.networks.base import Network
from chromaflow.settings import Training
from chromaflow.training.data.module import Batch
from chromaflow.training.guides.draw import draw_guide
from chromaflow.training.losses import Losses, Step
from chromaflow.training.optimizers import backbone_learns, build_optimizer, build_schedule

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
        seed: With the number of the step it decides whatever the network or a guide draws.
        pretrained: The network's backbone has published weights: it learns at
            `training.backbone_rate` times the rate of the rest, and from `training.unfreeze` on.

    Attributes:
        averaged: The colorizer with the averaged weights, which validates and is saved.

    Raises:
        ModelError: The weights of a network that a loss needs cannot be had.
    """

    def __init__(
        self, model: Colorizer, training: Training, *, seed: int = 0, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.model = model.train()
        self._training, self._seed = training, seed
        self._backbone = model.network.backbone if pretrained else None
        self.losses = Losses(training)
        average = _MovingAverage(training.ema)
        self._average = AveragedModel(model.network, multi_avg_fn=average, use_buffers=True)
        self._average.requires_grad_(requires_grad=False)
        network: Network = self._average.module  # type: ignore[assignment]
        self.averaged = Colorizer(network, model.codebook, model.refine, model.size).eval()
        if self._backbone is not None and training.backbone_rate == 0:
            self._backbone.requires_grad_(requires_grad=False)
        if training.compile:
            # Not forward alone, which the outputs of some networks do not pass through.
            model.network.outputs = torch.compile(model.network.outputs)  # type: ignore[method-assign]

    def _seed_step(self, batch_idx: int) -> None:
        """Make what is drawn in this step a function of its number, whatever was drawn before."""
        part = batch_idx % self._training.accumulate
        entropy = (self._seed, 3, self.global_step, part, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))

    def _look(self, model: Colorizer, batch: Batch) -> Step:
        lightness, ab = decode_stored(batch.pixels)
        guide = draw_guide(model.network, lightness, ab)
        outputs = model.network.outputs(lightness, guide)
        return Step(model, outputs, lightness, ab, batch.scenes)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The loss of a batch, and its parts by name; a discriminator learns from it first.

        Raises:
            TrainingStoppedError: One is not a finite number.
        """
        self._seed_step(batch_idx)
        if self._backbone is not None:
            # At rest it keeps the statistics of its normalization, too.
            self._backbone.train(backbone_learns(self.global_step, self._training))
        step = self._look(self.model, batch)
        values: dict[str, Tensor] = {}
        if (adversary := self.losses.adversary) is not None:
            part = batch_idx % self._training.accumulate
            values["discriminator"] = adversary.learn(step, self.global_step, part)
        values |= self.losses(step)
        self._check_finite(values, batch)
        return {name: value if name == "loss" else value.detach() for name, value in values.items()}

    def _check_finite(self, values: dict[str, Tensor], batch: Batch) -> None:
        numbers = torch.stack([value.detach() for value in values.values()]).tolist()
        named = zip(values, numbers, strict=True)
        faults = [f"{name} is {number}" for name, number in named if not math.isfinite(number)]
        if not faults:
            return
        ids = ", ".join(batch.ids[:5]) + (" …" if len(batch.ids) > 5 else "")
        training = self._training
        rates = {"learning_rate": training.learning_rate}
        if (adversarial := training.losses.adversarial) is not None:
            name = "losses.adversarial.discriminator_rate"
            rates[name] = adversarial.discriminator_rate
        lower = ", ".join(f"training.{name} ({value:g})" for name, value in rates.items())
        raise TrainingStoppedError(
            f"in step {self.global_step + 1} {', '.join(faults)}, on images {ids}.",
            f"lower {lower} or training.clip ({training.clip:g}), and run chromaflow train again",
        )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and average the weights."""
        super().optimizer_step(*args, **kwargs)
        self._average.update_parameters(self.model.network)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss, color error and colorfulness of the averaged weights on a batch."""
        self._seed_step(batch_idx)
        step = self._look(self.averaged, batch)
        values = {
            "validation_loss": self.losses(step, of_fit=True)["loss"],
            "validation_ab_error": torch.hypot(*(step.full_ab - step.true_ab).unbind(1)).mean(),
            "validation_colorfulness": colorfulness(step.rgb).mean(),
        }
        self.log_dict(values, batch_size=len(batch.ids), sync_dist=True, logger=False)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:  # noqa: ARG002
        """Let a backbone at rest count neither in the clipping nor in the optimizer's moments."""
        if self._backbone is not None and not backbone_learns(self.global_step, self._training):
            for parameter in self._backbone.parameters():
                parameter.grad = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the discriminator's optimizer."""
        if self.losses.adversary is not None:
            checkpoint["adversary"] = self.losses.adversary.optimizer_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        if self.losses.adversary is not None:
            self.losses.adversary.load_optimizer_state(checkpoint["adversary"])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Optimizer and schedule of the settings, the pretrained backbone at its own rate."""
        training, own = self._training, self._backbone
        backbone = {id(p) for p in own.parameters()} if own is not None else set()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if id(p) not in backbone]}
        ]
        learned = [p for p in parameters if id(p) in backbone]
        if learned:
            rate = training.learning_rate * training.backbone_rate
            groups.append({"params": learned, "lr": rate})
        optimizer = build_optimizer(training, groups, training.learning_rate)
        schedule = build_schedule(training, optimizer, backbone=1 if learned else None)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
