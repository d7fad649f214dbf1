"""What happens around the training steps: curves, checkpoints, signals, the bar, pictures."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

import contextlib
import csv
import io
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from chromaflow import console
from chromaflow.color.stored import decode_stored
from chromaflow.errors import TrainingStoppedError
from chromaflow.training.data import LabData
from chromaflow.training.module import ColorizerTraining

_STEPS_A_ROW = 10

Show = Callable[[int, Tensor, Tensor, Tensor], None]
"""(step, lightness (B, 1, H, W), predicted ab (B, 2, H, W), true ab), on the CPU."""


def _stepped(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a batch ended in an optimizer step."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


class Curves(Callback):
    """The history of the training: a row every ten steps and one a validation.

    It travels in the checkpoint, so that a resumed training ends with the same rows. The loggers
    get the rows as they come, and beside them the speed and, where the loss has parts, each of
    them, `train_` before its name, unweighted.

    Attributes:
        rows: In the order of steps; a step, `train_loss` as the mean since the last row and
            `learning_rate`, or a step and what validation measured.
    """

    COLUMNS = (
        "step",
        "train_loss",
        "learning_rate",
        "validation_loss",
        "validation_ab_error",
        "validation_colorfulness",
    )

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._sums: dict[str, float] = {}
        self._batches = 0
        self._rate = self._since = 0.0
        self._images = 0

    def state_dict(self) -> dict[str, Any]:
        """The history, and the sums of the row that is not complete."""
        return {"rows": self.rows, "sums": self._sums, "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the history of a checkpoint."""
        self.rows = list(state_dict["rows"])
        self._sums, self._batches = dict(state_dict["sums"]), state_dict["batches"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()
        self._images = 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the rate of this step; at its end it is that of the next one."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Add the loss up; write a row where one is due."""
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        for name, value in {**outputs, "loss": loss}.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._batches += 1
        self._images += len(batch.ids) * trainer.world_size
        step = trainer.global_step
        last = step == trainer.max_steps
        if not _stepped(trainer, batch_idx) or (step % _STEPS_A_ROW and not last):
            return
        means = {f"train_{name}": total / self._batches for name, total in self._sums.items()}
        row = {"train_loss": means.pop("train_loss"), "learning_rate": self._rate}
        speed = self._images / (time.monotonic() - self._since)
        # The only part is the loss itself.
        parts = means if len(means) > 1 else {}
        self._sums, self._batches = {}, 0
        self._add(trainer, row, images_per_second=speed, **parts)
        self._since, self._images = time.monotonic(), 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a row of what the validation measured."""
        names = [name for name in self.COLUMNS if name in trainer.callback_metrics]
        self._add(trainer, {name: float(trainer.callback_metrics[name]) for name in names})
        self._since, self._images = time.monotonic(), 0

    def _add(self, trainer: pl.Trainer, row: dict[str, float], **beside: float) -> None:
        self.rows.append({"step": trainer.global_step, **row})
        for logger in trainer.loggers:
            logger.log_metrics({**row, **beside}, step=trainer.global_step)

    def last(self, column: str) -> float | None:
        """The last value of a column; None where it has none."""
        return next((row[column] for row in reversed(self.rows) if column in row), None)

    def to_csv(self) -> str:
        """The history as a table, one row a step; a field without a value is empty."""
        table: dict[float, dict[str, float]] = {}
        for row in self.rows:
            table.setdefault(row["step"], {}).update(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, self.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.values())
        return text.getvalue()


class Checkpoints(Callback):
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

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save where the time has come, or stop where a signal has.

        Raises:
            TrainingStoppedError: A signal asked for it.
        """
        if batch_idx % trainer.accumulate_grad_batches:
            return
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
            TrainingStoppedError: A signal asked for it.
        """
        if trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False):
            self._stop(trainer, "the last checkpoint is kept")

    def _stop(self, trainer: pl.Trainer, kept: str) -> None:
        name = self._signal.name if self._signal else "A signal to another process"
        raise TrainingStoppedError(
            f"{name} stopped the training after step {trainer.global_step} of "
            f"{trainer.max_steps}; {kept}.",
            "run the same command again: it goes on from there",
        )


class Bar(Callback):
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

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count a step."""
        if _stepped(trainer, batch_idx):
            self._advance(1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take it away."""
        self._shown.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Take it away."""
        self._shown.close()


class Pictures(Callback):
    """Shows what the averaged weights make of a few images that stay the same.

    The images are of the validation split, or of the train split where there is none.

    Args:
        show: Takes the step and the images.
        every: Steps between; the last step is always shown.
        count: Images.
    """

    def __init__(self, show: Show, every: int, count: int = 6) -> None:
        self._show, self._every, self._count = show, every, count

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Show the images where they are due."""
        step = trainer.global_step
        due = step % self._every == 0 or step == trainer.max_steps
        if not (due and _stepped(trainer, batch_idx) and trainer.is_global_zero):
            return
        assert isinstance(pl_module, ColorizerTraining)  # noqa: S101 (what train gives it)
        data: LabData = trainer.datamodule  # type: ignore[attr-defined]
        pixels = data.examples(self._count).pixels.to(pl_module.device)
        lightness, ab = decode_stored(pixels)
        with torch.inference_mode():
            predicted = pl_module.averaged.predict_ab(lightness)
        self._show(step, lightness.cpu(), predicted.cpu(), ab.cpu())
