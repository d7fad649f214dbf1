"""The step `chromaflow evaluate`: the candidate on the held-out images, beside the baselines."""

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from chromaflow import console, files
from chromaflow.errors import DataError
from chromaflow.evaluation.evaluate import Measurements, Predictor, Progress, measure
from chromaflow.evaluation.pictures import choose, write_pictures
from chromaflow.models.folder import load_model, model_digest
from chromaflow.project import Project
from chromaflow.settings import Settings


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Another number of threads would round sums in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mean_color(lab: Path) -> tuple[float, float]:
    """The mean color of the training split, a and b.

    Args:
        lab: `data/lab`.

    Raises:
        DataError: Its statistics are missing or broken.
    """
    path = lab / "statistics.json"
    try:
        a, b = json.loads(path.read_text(encoding="utf-8"))["mean_ab"]
        return float(a), float(b)
    except FileNotFoundError:
        raise DataError(f"{path} is missing.", "chromaflow preprocess") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not give mean_ab, the mean color of the training split: {error}",
            "chromaflow preprocess",
        ) from None


def constant(a: float, b: float) -> Predictor:
    """The baseline that gives every pixel one color; (0, 0) is grey."""
    return lambda lightness: (
        lightness.new_tensor((a, b))
        .reshape(1, 2, 1, 1)
        .expand(len(lightness), 2, *lightness.shape[-2:])
    )


def _summary(system: Measurements, truth: Measurements) -> dict[str, float]:
    numbers = {metric: round(system.mean(metric), 4) for metric in system.values}
    difference = abs(system.mean("colorfulness") - truth.mean("colorfulness"))
    return {**numbers, "colorfulness_difference": round(difference, 4)}


def _write_table(path: Path, measured: Mapping[str, Measurements]) -> None:
    metrics = sorted(next(iter(measured.values())).values)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "system", *metrics, "weight"])
        for system, result in measured.items():
            for index, id_ in enumerate(result.ids):
                numbers = [result.values[metric][index] for metric in metrics]
                row = [f"{number:.6f}" for number in (*numbers, result.masses[index])]
                table.writerow([id_, system, *row])


def evaluate(
    project: Project, settings: Settings, progress: Progress = console.progress
) -> dict[str, Any]:
    """Measure `models/candidate` on the test split, and write `reports/evaluation` whole.

    The baselines stand beside it: grey, and the mean color of the training split everywhere. PSNR
    rewards both. Computes on the CPU with the threads of `training.threads`, or on a GPU where
    there is one and `training.accelerator` allows it.

    Args:
        project: The checkout.
        settings: Its settings.
        progress: How to show progress.

    Returns:
        What `metrics.json` holds: `digest` of the model, `images`, and for `model`, `grey`,
        `mean_color` every metric (of `truth` its colorfulness), rounded to 4 decimals.
        `colorfulness_difference` is ΔCF, between the means of predictions and truth.

    Raises:
        DataError: The test split or the statistics are missing, or the split is empty.
        ModelError: There is no candidate, or it cannot be used.
    """
    gpu = settings.training.accelerator != "cpu" and torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    test, size = project.lab / "test", settings.evaluation.size
    baseline = constant(*mean_color(project.lab))
    model = load_model(project.candidate, device=device)
    systems = {"model": model.predict_ab, "grey": constant(0, 0), "mean_color": baseline}
    with _threads(settings.training.threads):
        measured = measure(systems, test, size, device=device, progress=progress)
        truth = measured.pop("truth")
        result: dict[str, Any] = {
            "digest": model_digest(project.candidate),
            "images": len(truth.ids),
            "truth": {metric: round(truth.mean(metric), 4) for metric in truth.values},
            **{name: _summary(system, truth) for name, system in measured.items()},
        }
        shown = choose(truth.ids, settings.evaluation.pictures)
        with files.atomic_folder(project.evaluation) as folder:
            files.write_json(folder / "metrics.json", result)
            _write_table(folder / "per_image.csv", measured)
            write_pictures(model.predict_ab, test, shown, size, folder / "pictures", device)
    return result
