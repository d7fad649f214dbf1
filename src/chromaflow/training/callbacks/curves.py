"""The history of a training, as rows of `curves.csv`."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

import csv
import io
import time
from typing import Any

import pytorch_lightning as pl

from chromaflow.training.callbacks.base import StepCallback

_STEPS_A_ROW = 10


class Curves(StepCallback):
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

    def before_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
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
        """Add the loss up."""
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        for name, value in {**outputs, "loss": loss}.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._batches += 1
        self._images += len(batch.ids) * trainer.world_size
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def after_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, Any]
    ) -> None:
        """Write a row where one is due."""
        step = trainer.global_step
        if step % _STEPS_A_ROW and step != trainer.max_steps:
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
