"""The step `chromaflow evaluate`: the candidate and the baselines on the held-out images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chromaflow import console
from chromaflow.evaluation.baselines import BASELINES
from chromaflow.evaluation.measure import measure_model, model_to_measure
from chromaflow.evaluation.measurements import Measurements, write_table
from chromaflow.evaluation.strips import choose, write_pictures
from chromaflow.metrics.base import Metric
from chromaflow.metrics.catalog import METRICS
from chromaflow.models.model_folder import model_digest
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings


@dataclass(frozen=True)
class EvaluateResult:
    """What `metrics.json` holds.

    Args:
        digest: Of the model folder.
        images: Held-out images.
        means: For `model` and each baseline the mean of every metric of the catalog, rounded to 4
            decimals; for `truth` those of the metrics that have no better and no worse.
    """

    digest: str
    images: int
    means: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        """The content of `metrics.json`."""
        return {"digest": self.digest, "images": self.images, **self.means}

    def summary(self) -> str:
        """Where the metrics are, and over how many images."""
        return f"reports/evaluation/metrics.json: {self.images} held-out images"


def _means(system: Measurements, truth: Measurements) -> dict[str, float]:
    def value(metric: Metric) -> float:
        if name := metric.difference_of:
            return abs(system.mean(name) - truth.mean(name))
        return system.mean(metric.name)

    return {name: round(value(metric), 4) for name, metric in METRICS.items()}


def evaluate(
    project: Project, settings: Settings, progress: console.Progress = console.progress
) -> EvaluateResult:
    """Measure `models/candidate` on the test split, and write `reports/evaluation` whole.

    The baselines are shown next to it; PSNR favors both of them. Where it computes, see
    `model_to_measure`.

    Args:
        project: The checkout.
        settings: Its settings.
        progress: How to show progress.

    Raises:
        DataError: The test split or the statistics are missing, or the split is empty.
        ModelError: There is no candidate, or it cannot be used.
    """
    test, evaluation = project.lab / "test", settings.evaluation
    baselines = {name: one.predictor(project.lab) for name, one in BASELINES.items()}
    with model_to_measure(project.candidate, settings.training) as model:
        measured = measure_model(model, test, evaluation, baselines=baselines, progress=progress)
        truth = measured.pop("truth")
        result = EvaluateResult(
            digest=model_digest(project.candidate),
            images=len(truth.ids),
            means={
                "truth": {metric: round(truth.mean(metric), 4) for metric in truth.values},
                **{name: _means(system, truth) for name, system in measured.items()},
            },
        )
        shown = choose(truth.ids, evaluation.pictures)
        with files.atomic_folder(project.evaluation) as folder:
            files.write_json(folder / "metrics.json", result.to_json())
            write_table(folder / "per_image.csv", measured)
            write_pictures(model, test, shown, evaluation.size, folder / "pictures")
    return result
