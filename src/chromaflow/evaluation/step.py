"""The step `chromaflow evaluate`: the candidate on the held-out images, beside the baselines."""

import json
from pathlib import Path
from typing import Any

from chromaflow import console, files
from chromaflow.errors import DataError
from chromaflow.evaluation.evaluate import (
    Measurements,
    Predictor,
    Progress,
    measure_model,
    model_to_measure,
)
from chromaflow.evaluation.pictures import choose, write_pictures
from chromaflow.evaluation.table import write_table
from chromaflow.models.folder import model_digest
from chromaflow.project import Project
from chromaflow.settings import Settings


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


def evaluate(
    project: Project, settings: Settings, progress: Progress = console.progress
) -> dict[str, Any]:
    """Measure `models/candidate` on the test split, and write `reports/evaluation` whole.

    The baselines stand beside it: grey, and the mean color of the training split everywhere. PSNR
    rewards both. Where it computes, see `model_to_measure`.

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
    test, evaluation = project.lab / "test", settings.evaluation
    baselines = {"grey": constant(0, 0), "mean_color": constant(*mean_color(project.lab))}
    with model_to_measure(project.candidate, settings.training) as model:
        measured = measure_model(model, test, evaluation, baselines=baselines, progress=progress)
        truth = measured.pop("truth")
        result: dict[str, Any] = {
            "digest": model_digest(project.candidate),
            "images": len(truth.ids),
            "truth": {metric: round(truth.mean(metric), 4) for metric in truth.values},
            **{name: _summary(system, truth) for name, system in measured.items()},
        }
        shown = choose(truth.ids, evaluation.pictures)
        with files.atomic_folder(project.evaluation) as folder:
            files.write_json(folder / "metrics.json", result)
            write_table(folder / "per_image.csv", measured)
            write_pictures(model, test, shown, evaluation.size, folder / "pictures")
    return result
