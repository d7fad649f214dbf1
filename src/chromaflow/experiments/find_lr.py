"""Which learning rate? The loss while the rate rises, Smith, "Cyclical Learning Rates", 2017."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

import csv
import io
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from chromaflow.errors import SettingsError, TrainingStoppedError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.reporting.svg import draw_log
from chromaflow.settings import Settings
from chromaflow.training.callbacks.base import StepCallback
from chromaflow.training.fit import train

_SMOOTHING = 0.9
_DIVERGED = 4.0


@dataclass(frozen=True)
class RateCurve:
    """The loss over the learning rate.

    Attributes:
        rates: Learning rates, rising.
        losses: The smoothed loss at each of them.
        suggested: Where the loss falls most steeply.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float

    def to_csv(self) -> str:
        """The curve as a table."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["learning_rate", "loss"])
        writer.writerows(zip(self.rates, self.losses, strict=True))
        return text.getvalue()


class _Rising(StepCallback):
    """Raises the rate step by step, by the same factor, and keeps the smoothed loss."""

    def __init__(self, low: float, high: float, steps: int) -> None:
        self._low, self._factor = low, (high / low) ** (1 / max(1, steps - 1))
        self.rates, self.losses = list[float](), list[float]()
        self._mean = 0.0

    def before_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the rate of this step; groups keep their ratio."""
        rate = self._low * self._factor ** len(self.rates)
        groups = trainer.optimizers[0].param_groups
        first = groups[0]["initial_lr"]
        for group in groups:
            group["lr"] = rate * group["initial_lr"] / first

    def after_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, Any]
    ) -> None:
        """Keep the loss; stop where it has run away."""
        count = len(self.rates) + 1
        self.rates.append(self._low * self._factor ** (count - 1))
        loss = float(outputs["loss"].detach()) * trainer.accumulate_grad_batches
        self._mean = _SMOOTHING * self._mean + (1 - _SMOOTHING) * loss
        # Less the weight of the zero that the mean began with.
        self.losses.append(self._mean / (1 - _SMOOTHING**count))
        trainer.should_stop = self.losses[-1] > _DIVERGED * min(self.losses)


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at which the loss falls most over the logarithm of the rate.

    The slope is that of the straight line through a fifth of the points around each: single steps
    differ by their images more than by their rates.

    Args:
        rates: Rising evenly over their logarithm.
        losses: At each of them.
    """
    width = max(2, len(rates) // 5)
    along = np.arange(width) - (width - 1) / 2
    slopes = np.convolve(losses, along[::-1], mode="valid") / (along**2).sum()
    return rates[int(slopes.argmin()) + width // 2]


def find_lr(
    project: Project,
    settings: Settings,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
) -> RateCurve:
    """Train on the Lab shards while the learning rate rises, in a place of its own.

    Args:
        project: The checkout; `data/lab` is read.
        settings: Of the recipe.
        low: First learning rate.
        high: Last one; it ends before where the loss has run away.
        steps: Of the rise.

    Raises:
        SettingsError: Rates that do not rise, or too few steps.
        DataError: There are no shards.
        TrainingStoppedError: The loss is not a number from the start, or the memory is spent.
        TrainingInterruptedError: A signal asked to stop.
    """
    if not 0 < low < high or steps < 10:
        raise SettingsError(f"a rate from {low:g} to {high:g} in {steps} steps does not rise.")
    update = {"steps": steps, "schedule": "constant", "warmup": 0.0, "accumulate": 1}
    update |= {"devices": 1, "validate_every": steps + 1, "patience": 0, "unfreeze": 0.0}
    chosen = settings.model_copy(update={"training": settings.training.model_copy(update=update)})
    rising = _Rising(low, high, steps)
    with tempfile.TemporaryDirectory(prefix="chromaflow-") as folder:
        try:
            train(project.relocated(Path(folder)), chosen, callbacks=[rising])
        except TrainingStoppedError:
            # The loss became no number: the end of the curve, unless nothing came before it.
            if len(rising.rates) < 10:
                raise
    finite = [
        pair for pair in zip(rising.rates, rising.losses, strict=True) if math.isfinite(pair[1])
    ]
    rates, losses = (list(column) for column in zip(*finite, strict=True))
    return RateCurve(tuple(rates), tuple(losses), steepest(rates, losses))


def write_curve(folder: Path, name: str, curve: RateCurve) -> Path:
    """Write the curve as `<name>.csv` and `<name>.svg`.

    Returns:
        The picture.
    """
    files.write_text(folder / f"{name}.csv", curve.to_csv())
    points = list(zip(curve.rates, curve.losses, strict=True))
    files.write_text(folder / f"{name}.svg", str(draw_log("Loss", points, curve.suggested)))
    return folder / f"{name}.svg"
