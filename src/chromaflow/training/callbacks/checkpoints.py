"""Checkpoints on disk, and the clean stop of a training by a signal."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from chromaflow.errors import TrainingInterruptedError
from chromaflow.training.callbacks.base import StepCallback


class Checkpoints(StepCallback):
    """Keeps a checkpoint on disk, and ends the training in good order when it is asked to.

    It acts before a batch, when the validation of the step before is over: a resumed training
    then neither repeats nor leaves out anything.

    Args:
        path: Of the checkpoint.
        every: Seconds between two.

    Attributes:
        resumed_from: The step of the checkpoint that this training went on from, or 0.
    """

    def __init__(self, path: Path, every: float) -> None:
        self.path = path
        self._every = every
        self._saved_at = 0.0
        self.resumed_from = 0
        self._signal: signal.Signals | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; take SIGTERM and SIGINT, which Lightning restores at the end."""
        self._saved_at = time.monotonic()
        self.resumed_from = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._remember)

    def _remember(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None:
            # Asked twice: now, without a checkpoint.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._signal = signal.Signals(number)

    def before_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where the time has come, or stop where a signal has.

        Raises:
            TrainingInterruptedError: A signal asked for it.
        """
        agree = trainer.strategy.reduce_boolean_decision
        stop = agree(self._signal is not None, all=False)
        if stop or agree(time.monotonic() - self._saved_at >= self._every, all=False):
            trainer.save_checkpoint(self.path)
            self._saved_at = time.monotonic()
        if stop:
            self._stop(trainer, f"the checkpoint of step {trainer.global_step} is kept")

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop where a signal asks for it; a validation half done is not kept.

        Raises:
            TrainingInterruptedError: A signal asked for it.
        """
        if trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False):
            self._stop(trainer, "the last checkpoint is kept")

    def _stop(self, trainer: pl.Trainer, kept: str) -> None:
        name = self._signal.name if self._signal else "A signal to another process"
        raise TrainingInterruptedError(
            f"{name} stopped the training after step {trainer.global_step} of "
            f"{trainer.max_steps}; {kept}.",
            "run the same command again: it resumes from there",
        )
