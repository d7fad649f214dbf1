"""Can a recipe learn at all? It overfits eight photographs, or reports what is stuck."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chromaflow import console
from chromaflow.color.lab import join, lab_to_rgb
from chromaflow.color.stored import decode_stored
from chromaflow.errors import SettingsError
from chromaflow.experiments.sample_photographs import read_eight, write_lab
from chromaflow.models import Colorizer, network_class
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training.callbacks.base import StepCallback
from chromaflow.training.fit import train
from chromaflow.training.module import ColorizerTraining

MARGIN = 1.0
"""dB under the best that a codebook and an output size can represent."""
LOSSLESS = 35.0
"""dB that count as the best where the codebook and the size lose next to nothing: a mean ΔE of
about 1, which few see."""
_LOOKS, _SIDE = 60, 64
_FALL = 0.6
"""Of the time, in which the rate falls: what is left of the loss is the noise of its steps."""
_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Sanity:
    """How a recipe fared.

    Attributes:
        passed: It came within `MARGIN` of the best.
        best: PSNR that the codebook and the output size can represent, at most `LOSSLESS`, dB.
        reached: PSNR of the network, dB.
        grey: PSNR of the grey photographs, dB.
        steps: Optimizer steps that it took.
        seconds: That it took.
        curve: Step and PSNR at each look.
        stuck: What is stuck; empty where it passed.
    """

    passed: bool
    best: float
    reached: float
    grey: float
    steps: int
    seconds: float
    curve: Sequence[tuple[int, float]]
    stuck: str


def _psnr(lightness: Tensor, ab: Tensor, true_ab: Tensor) -> float:
    """Of all photographs together: one that is nearly grey would outshine the others by itself."""
    predicted, true = (lab_to_rgb(join(lightness, color)) for color in (ab, true_ab))
    return float(-10 * torch.log10((predicted - true).square().mean().clamp(min=1e-10)))


def represent(model: Colorizer, ab: Tensor) -> Tensor:
    """The true color as the codebook and the size of the output can represent it.

    Args:
        model: Its codebook and stride count.
        ab: (B, 2, H, W), CIE units; H and W multiples of the stride.

    Returns:
        ab of the same shape.
    """
    small = F.avg_pool2d(ab, model.stride) if model.stride > 1 else ab
    return model.color(model.codebook.ideal_logits(small))


class _Watch(StepCallback):
    """Looks at the eight photographs now and then; ends the training when it knows enough."""

    def __init__(self, lightness: Tensor, ab: Tensor, seconds: float) -> None:
        self._lightness, self._ab = lightness, ab
        self._seconds, self._begun, self._looked = seconds, 0.0, 0.0
        self.best, self.curve = 0.0, list[tuple[int, float]]()
        self.predicted, self.without_gradient = torch.zeros_like(ab), list[str]()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and ask what the codebook can represent."""
        assert isinstance(pl_module, ColorizerTraining)  # noqa: S101 (what train gives it)
        model = pl_module.model
        with torch.inference_mode():
            ideal = represent(model, self._ab.to(pl_module.device)).cpu()
        self.best = min(LOSSLESS, _psnr(self._lightness, ideal, self._ab))
        self._begun = self._looked = time.monotonic()

    def before_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the rate, which the schedule has set anew, fall in a straight line at last."""
        left = 1 - (time.monotonic() - self._begun) / self._seconds
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] *= min(1.0, max(0.0, left / _FALL))

    def after_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, Any]
    ) -> None:
        """Look, where it is time, and stop where nothing more can be learned."""
        now = time.monotonic()
        over = now - self._begun > self._seconds
        if now - self._looked < self._seconds / _LOOKS and not over:
            return
        assert isinstance(pl_module, ColorizerTraining)  # noqa: S101
        with torch.inference_mode():
            predicted = pl_module.averaged.predict_ab(self._lightness.to(pl_module.device))
        self.predicted = predicted.cpu()
        self.curve.append((trainer.global_step, _psnr(self._lightness, self.predicted, self._ab)))
        self.without_gradient = [
            name
            for name, parameter in pl_module.model.named_parameters()
            if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
        ]
        trainer.should_stop = over or self.curve[-1][1] >= self.best - MARGIN
        # What a look costs is not counted as training.
        self._begun += time.monotonic() - now
        self._looked = time.monotonic()


def _find_stuck(watch: _Watch) -> str:
    """Why the photographs were not learned, in a sentence."""
    curve = [value for _, value in watch.curve]
    spread = float(watch.predicted.std(dim=(2, 3)).mean())
    if len(watch.without_gradient) > 0:
        names = ", ".join(watch.without_gradient[:3])
        return (
            f"no gradient reaches {len(watch.without_gradient)} of its parameters, such as {names}"
        )
    if spread < 0.5:
        return (
            "it gives every pixel nearly the same color: raise training.learning_rate, or look at "
            "training.initialization"
        )
    third = max(1, len(curve) // 3)
    gain = float(np.mean(curve[-third:]) - np.mean(curve[-2 * third : -third]))
    if gain > 0.1:
        return f"it still gains {gain:.1f} dB in a third of the time: raise --minutes"
    return (
        "it has stopped improving: raise model.network.width or model.network.depth, or change "
        "training.learning_rate; the network sees too little to tell the photographs' colors apart"
    )


def _overfitting(settings: Settings, side: int) -> Settings:
    """The recipe without what keeps it from learning eight photographs by heart."""
    training = settings.training.model_copy(
        update={
            **{"steps": _MOST_STEPS, "batch": 8, "accumulate": 1, "crop": side, "devices": 1},
            **{"mirror": False, "zoom": 0.0, "shear": 0.0, "patience": 0, "unfreeze": 0.0},
            **{"schedule": "constant", "warmup": 50 / _MOST_STEPS, "weight_decay": 0.0},
            # The average must not lag behind by more than a look.
            "ema": min(settings.training.ema, 0.9),
            "validate_every": _MOST_STEPS,
        }
    )
    runtime = settings.runtime.model_copy(update={"workers": 0, "mirror": "", "processes": 0})
    # What the network learned is asked for, not what a refinement makes of it.
    model = settings.model.model_copy(update={"refine": "none"})
    return settings.model_copy(update={"model": model, "training": training, "runtime": runtime})


def side_for(network: str) -> int:
    """Side of the photographs that a network is asked to overfit, pixels.

    One that sees a small patch around each pixel takes like patches for the same, whatever their
    color: it gets photographs of about twice its patch.

    Args:
        network: Its name.

    Raises:
        ModelError: An unknown name.
    """
    field = network_class(network).receptive_field
    return _SIDE if field is None else min(_SIDE, 2 * field // 8 * 8)


def sanity(
    settings: Settings, *, side: int | None = None, minutes: float = 3.0
) -> tuple[Sanity, Tensor]:
    """Overfit eight photographs with a recipe's own network, codebook, losses and optimizer.

    The optimizer's rate stays at its peak, then falls to nothing towards the end; augmentation,
    weight decay and validation are off.

    Args:
        settings: Of the recipe.
        side: Of the photographs, pixels; None: `side_for` its network.
        minutes: At most; it ends as soon as the best is reached.

    Returns:
        How it fared, and the pictures: sRGB (8, 4, 3, side, side), each photograph grey, as
        predicted, as the codebook can represent it, and true.

    Raises:
        SettingsError: A side that the network cannot see, or a loss that does not fit.
        TrainingStoppedError: The loss is no longer a number, or the memory is spent.
        TrainingInterruptedError: A signal asked to stop.
    """
    side = side_for(settings.model.network.name) if side is None else side
    photographs = read_eight(side)
    lightness, ab = decode_stored(torch.from_numpy(np.stack(list(photographs.values()))))
    watch, begun = _Watch(lightness, ab, 60 * minutes), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chromaflow-") as folder:
        project = Project(Path(folder))
        write_lab(project, photographs)
        with console.progress("Overfitting", None):
            summary = train(project, _overfitting(settings, side), callbacks=[watch])
        from chromaflow.models.model_folder import load_model  # noqa: PLC0415

        ideal = represent(load_model(project.candidate), ab)
    if not watch.curve:
        raise SettingsError(f"not one step was taken in {minutes:g} minutes.", "raise --minutes")
    reached, grey = watch.curve[-1][1], _psnr(lightness, torch.zeros_like(ab), ab)
    passed = reached >= watch.best - MARGIN
    result = Sanity(
        passed=passed,
        best=watch.best,
        reached=reached,
        grey=grey,
        steps=int(summary["steps"]),
        seconds=time.monotonic() - begun,
        curve=watch.curve,
        stuck="" if passed else _find_stuck(watch),
    )
    versions = (torch.zeros_like(ab), watch.predicted, ideal, ab)
    return result, torch.stack([lab_to_rgb(join(lightness, c)) for c in versions], dim=1)


def picture(pictures: Tensor) -> Image.Image:
    """The pictures of `sanity` as one, a photograph a column."""
    columns = torch.cat([torch.cat(list(column), dim=1) for column in pictures], dim=2)
    pixels: NDArray[np.uint8] = (columns.permute(1, 2, 0) * 255).round().byte().numpy()
    return Image.fromarray(pixels)
