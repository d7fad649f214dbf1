"""Predictions of the averaged weights for a few images during training."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from chromaflow.color.stored import decode_stored
from chromaflow.training.callbacks.base import StepCallback
from chromaflow.training.data.module import LabData
from chromaflow.training.module import ColorizerTraining

Show = Callable[[int, Tensor, Tensor, Tensor], None]
"""(step, lightness (B, 1, H, W), predicted ab (B, 2, H, W), true ab), on the CPU."""


class Pictures(StepCallback):
    """Shows what the averaged weights make of a few images that stay the same.

    The images are of the validation split, or of the train split where there is none.

    Args:
        show: Takes the step and the images.
        every: Steps between; the last step is always shown.
        count: Images.
    """

    def __init__(self, show: Show, every: int, count: int = 6) -> None:
        self._show, self._every, self._count = show, every, count

    def after_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, Any]
    ) -> None:
        """Show the images where they are due."""
        step = trainer.global_step
        due = step % self._every == 0 or step == trainer.max_steps
        if not (due and trainer.is_global_zero):
            return
        assert isinstance(pl_module, ColorizerTraining)  # noqa: S101 (what train gives it)
        data: LabData = trainer.datamodule  # type: ignore[attr-defined]
        pixels = data.examples(self._count).pixels.to(pl_module.device)
        lightness, ab = decode_stored(pixels)
        with torch.inference_mode():
            predicted = pl_module.averaged.predict_ab(lightness)
        self._show(step, lightness.cpu(), predicted.cpu(), ab.cpu())
