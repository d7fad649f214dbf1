"""Every metric of every held-out image, for a model or any other way to predict color.

Each image is resized to a square; color is predicted from its lightness there and joined
with the true lightness.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from chromaflow import console
from chromaflow.color.codebooks.grid import Grid313
from chromaflow.color.lab import join, lab_to_rgb, rgb_to_lab
from chromaflow.color.stored import ab_histogram, decode_stored, encode_stored
from chromaflow.data.store.read import read_split
from chromaflow.errors import DataError, ModelError
from chromaflow.evaluation.measurements import DECIMALS, Measurements
from chromaflow.metrics.base import Compared, Pictures
from chromaflow.metrics.catalog import METRICS
from chromaflow.models.colorizer import Colorizer
from chromaflow.models.model_folder import load_model
from chromaflow.settings import Evaluation, Training

_BATCH = 8

Predictor = Callable[[Tensor], Tensor]
"""Lightness (B, 1, H, W) to ab (B, 2, H, W), as `Colorizer.predict_ab`."""


def resize_square(pixels: NDArray[np.uint8], size: int) -> tuple[Tensor, Tensor]:
    """A stored image at the size of the evaluation, antialiased, its aspect given up.

    Args:
        pixels: Stored Lab, uint8 (H, W, 3).
        size: Side, pixels.

    Returns:
        Lightness float32 (1, 1, size, size) in 0..100 and ab float32 (1, 2, size, size).
    """
    lightness, ab = decode_stored(torch.from_numpy(np.array(pixels))[None])
    if pixels.shape[:2] == (size, size):
        return lightness, ab
    lab = F.interpolate(join(lightness, ab), (size, size), mode="bilinear", antialias=True)
    return lab[:, :1], lab[:, 1:]


def _count_colors(folder: Path, size: int, progress: console.Progress) -> tuple[int, Grid313]:
    """Number of images, and the bins with the inverse frequency of each among their pixels."""
    count, histogram = 0, np.zeros((256, 256), np.int64)
    with progress("Counting colors", None) as advance:
        for _, pixels in read_split(folder):
            lab = join(*resize_square(pixels, size))[0].permute(1, 2, 0).numpy()
            histogram += ab_histogram(encode_stored(lab))
            count += 1
            advance(1)
    if not count:
        raise DataError(
            f"{folder} holds no images to evaluate a model on.", "chromaflow preprocess"
        )
    return count, Grid313(rebalance=0.0, histogram=histogram)


def _batches(folder: Path, size: int) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Ids, lightness and ab of several images at a time."""
    images = iter(read_split(folder))
    while batch := list(itertools.islice(images, _BATCH)):
        resized = [resize_square(pixels, size) for _, pixels in batch]
        lightness, ab = (torch.cat(parts) for parts in zip(*resized, strict=True))
        yield [id_ for id_, _ in batch], lightness, ab


def _pictures(lightness: Tensor, ab: Tensor) -> Pictures:
    rgb = lab_to_rgb(join(lightness, ab))
    return Pictures(ab, rgb, rgb_to_lab(rgb))


def _values(compared: Compared, *, goals: bool = False) -> dict[str, Tensor]:
    """Every metric of every image, each (B,); or those alone whose goal is the truth's value."""
    return {
        metric.name: metric.per_image(compared)
        for metric in METRICS.values()
        if metric.per_image is not None and (metric.direction == "none" or not goals)
    }


def _predict(name: str, system: Predictor, lightness: Tensor) -> Tensor:
    ab = system(lightness).float()
    if not bool(torch.isfinite(ab).all()):
        raise ModelError(f"{name} predicts colors that are not finite numbers.", "train it again")
    return ab


@torch.inference_mode()
def measure(
    systems: Mapping[str, Predictor],
    lab_folder: Path,
    size: int,
    *,
    device: torch.device | str = "cpu",
    progress: console.Progress = console.progress,
) -> dict[str, Measurements]:
    """Measure several systems on the same images in one reading, and the truth itself.

    The rebalanced AuC weighs a pixel by the inverse of the smoothed frequency of its true color's
    bin among all pixels of the split (Zhang et al. 2016, Eq. 4 with λ = 0), so that its weights
    are the same for every system; one more reading counts them first.

    Args:
        systems: Name to predictor.
        lab_folder: Lab shards of the split, `data/lab/test`.
        size: Side of the square to which every image is resized, pixels.
        device: Where the predictors and the metrics compute.
        progress: How to show progress.

    Returns:
        Name to measurements, and under "truth" those of the true images in the metrics that have
        no better or worse, such as colorfulness.

    Raises:
        DataError: The split is missing or empty.
        ModelError: A prediction that is no number.
    """
    count, bins = _count_colors(lab_folder, size, progress)
    bins = bins.to(device)
    ids: list[str] = []
    weights: list[Tensor] = []
    values: dict[str, list[dict[str, Tensor]]] = {name: [] for name in ("truth", *systems)}
    with progress("Measuring", count) as advance:
        for batch_ids, *images in _batches(lab_folder, size):
            lightness, ab = (image.to(device) for image in images)
            pixel_weights = bins.encode(ab)[0].weights
            true = _pictures(lightness, ab)
            values["truth"].append(_values(Compared(true, true, pixel_weights), goals=True))
            for name, predictor in systems.items():
                predicted = _pictures(lightness, _predict(name, predictor, lightness))
                values[name].append(_values(Compared(predicted, true, pixel_weights)))
            ids += batch_ids
            weights.append(pixel_weights.mean(dim=(1, 2)))
            advance(len(batch_ids))
    pooled = _pool(weights)
    return {
        name: Measurements(
            tuple(ids),
            {metric: _pool([batch[metric] for batch in batches]) for metric in batches[0]},
            pooled,
        )
        for name, batches in values.items()
    }


def _pool(parts: list[Tensor]) -> NDArray[np.float64]:
    pooled: NDArray[np.float64] = torch.cat(parts).double().cpu().numpy().round(DECIMALS)
    return pooled


@contextlib.contextmanager
def model_to_measure(folder: Path, training: Training) -> Iterator[Colorizer]:
    """Load a model folder, and compute as every model is measured until the end of the block.

    On a GPU where there is one and `training.accelerator` allows it, else on the CPU; with
    `training.threads`, as another number of threads would round sums in another order.

    Args:
        folder: With `model.json` and `weights.safetensors`.
        training: The settings.

    Yields:
        The model, in evaluation mode.

    Raises:
        ModelError: The folder cannot be used.
    """
    gpu = training.accelerator != "cpu" and torch.cuda.is_available()
    before = torch.get_num_threads()
    torch.set_num_threads(training.threads)
    try:
        yield load_model(folder, device="cuda" if gpu else "cpu")
    finally:
        torch.set_num_threads(before)


def measure_model(
    model: Colorizer,
    lab_folder: Path,
    evaluation: Evaluation,
    *,
    baselines: Mapping[str, Predictor] | None = None,
    progress: console.Progress = console.progress,
) -> dict[str, Measurements]:
    """Measure a model on a split, on the device where it is, and baselines with it; see `measure`.

    Args:
        model: As `model_to_measure` gives it.
        lab_folder: Lab shards of the split, `data/lab/test`.
        evaluation: The settings.
        baselines: Name to predictor, measured on the same images in the same reading.
        progress: How to show progress.

    Returns:
        Measurements under "model", under the names of the baselines, and under "truth".

    Raises:
        DataError: The split is missing or empty.
        ModelError: A prediction that is no number.
    """
    return measure(
        {"model": model.predict_ab, **(baselines or {})},
        lab_folder,
        evaluation.size,
        device=next(model.parameters()).device,
        progress=progress,
    )
