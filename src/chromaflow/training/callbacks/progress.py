"""The progress bar of a training."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

import contextlib
from typing import Any

import pytorch_lightning as pl

from chromaflow import console
from chromaflow.training.callbacks.base import StepCallback


class ProgressBar(StepCallback):
    """Shows the progress in steps, on rank zero."""

    def __init__(self) -> None:
        self._shown = contextlib.ExitStack()
        self._advance: console.Advance = lambda _: None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show it, with the steps of an earlier start."""
        if trainer.is_global_zero:
            bar = console.progress("Training", trainer.max_steps)
            self._advance = self._shown.enter_context(bar)
            self._advance(trainer.global_step)

    def after_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, Any]
    ) -> None:
        """Count a step."""
        self._advance(1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take it away."""
        self._shown.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Take it away."""
        self._shown.close()
