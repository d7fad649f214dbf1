"""A callback that acts once a step, whatever number of batches a step accumulates."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class StepCallback(Callback):
    """Calls `before_step` and `after_step` around each step of the optimizer."""

    def before_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Act before the first batch of a step."""

    def after_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, Any]
    ) -> None:
        """Act after the last batch of a step.

        Args:
            trainer: Of the training.
            pl_module: What learns.
            outputs: What its `training_step` gave for the last batch; `loss` is divided by the
                number of accumulated batches.
        """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Call `before_step` where a step begins."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.before_step(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Call `after_step` where a step ends."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.after_step(trainer, pl_module, outputs)
