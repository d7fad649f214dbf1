"""Several recipes on one data set under one budget: trained, evaluated and compared."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

import hashlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from chromaflow import console
from chromaflow.evaluation.baselines import SYSTEMS
from chromaflow.experiments.costs import Costs, measure_costs
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.evaluate import evaluate
from chromaflow.steps.register import register
from chromaflow.tracking.run import train_as_run
from chromaflow.training.callbacks.base import StepCallback
from chromaflow.training.fit import fingerprint, train

_WARM, _TIMED = 3, 12
_STEPS_ROUNDED = 10


@dataclass(frozen=True)
class Row:
    """A recipe in the comparison.

    Attributes:
        recipe: Its name.
        steps: Optimizer steps that the budget allowed.
        crops: Crops that it was trained on.
        seconds: Of the CPU that a step took, over the threads, before the training.
        measured: Metrics of the held-out images by system: the model, the baselines, the truth.
        costs: Of coloring one image.
        digest: Of the model folder.
        version: In the registry.
        folder: Its model, curves and evaluation.
    """

    recipe: str
    steps: int
    crops: int
    seconds: float
    measured: Mapping[str, Mapping[str, float]]
    costs: Costs
    digest: str
    version: str
    folder: str


class _Clock(StepCallback):
    """CPU seconds of each step: what else runs on the machine then costs no recipe its steps."""

    def __init__(self) -> None:
        self._begun, self.times = 0.0, list[float]()

    def before_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._begun = time.process_time()

    def after_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, Any]
    ) -> None:
        """Note a step."""
        self.times.append(time.process_time() - self._begun)


def seconds_a_step(project: Project, settings: Settings) -> float:
    """What a step costs on this machine: CPU time over the threads, the median of some steps."""
    update = {"steps": _WARM + _TIMED, "validate_every": _WARM + _TIMED + 1, "patience": 0}
    short = settings.model_copy(update={"training": settings.training.model_copy(update=update)})
    clock = _Clock()
    with tempfile.TemporaryDirectory(prefix="chromaflow-") as folder:
        train(project.relocated(Path(folder)), short, callbacks=[clock])
    return statistics.median(clock.times[_WARM:]) / settings.training.threads


def _within(settings: Settings, seconds: float, budget: float) -> Settings:
    """The settings with as many steps as the budget allows."""
    steps = max(_STEPS_ROUNDED, int(budget / seconds) // _STEPS_ROUNDED * _STEPS_ROUNDED)
    update = {"steps": steps, "validate_every": max(1, steps // 5)}
    return settings.model_copy(update={"training": settings.training.model_copy(update=update)})


def _place(project: Project, settings: Settings, recipe: str, budget: float) -> Project:
    """Where a recipe is trained; another data set, code or budget is another place."""
    digest = hashlib.sha256(f"{fingerprint(project, settings)} {budget}".encode()).hexdigest()
    return project.trial(f"compare-{recipe}-{digest[:12]}")


def _budgeted(place: Project, settings: Settings, budget: float) -> tuple[Settings, float]:
    """Settings with the steps of the budget; measured once, so that a second call resumes."""
    path = place.candidate.parent / "seconds.json"
    if path.is_file():
        seconds = float(json.loads(path.read_text(encoding="utf-8")))
    else:
        seconds = seconds_a_step(place, settings)
        files.write_json(path, seconds)
    return _within(settings, seconds, budget), seconds


def run_recipe(project: Project, settings: Settings, recipe: str, budget: float) -> Row:
    """Train a recipe, evaluate it, register it, and measure what it costs.

    If killed, the next call resumes from the last checkpoint; done, it reads what was found.

    Args:
        project: The checkout; `data/lab` is read.
        settings: Of the recipe.
        recipe: Its name.
        budget: Seconds of training; of the CPU, over its threads.
    """
    place = _place(project, settings, recipe, budget)
    path = place.candidate.parent / "row.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        return Row(**{**found, "costs": Costs(**found["costs"])})
    values, seconds = _budgeted(place, settings, budget)
    with project.lock("training"):
        summary = train_as_run(place, values, fingerprint(place, values), name=recipe)
    judged = evaluate(place, values)
    registered = register(place, values)
    row = Row(
        recipe=recipe,
        steps=summary["steps"],
        crops=summary["crops"],
        seconds=seconds,
        measured={name: dict(judged.means[name]) for name in SYSTEMS},
        costs=measure_costs(place.candidate, values.training.threads),
        digest=summary["digest"],
        version=f"{registered.model}/{registered.version}",
        folder=str(place.candidate.parent),
    )
    files.write_json(path, asdict(row))
    shutil.rmtree(place.checkpoints, ignore_errors=True)
    return row


def compare(project: Project, recipes: Mapping[str, Settings], *, budget: float) -> list[Row]:
    """Train and evaluate recipes one after the other, each within the same budget.

    Every one is an MLflow run and a version in the registry, as by `chromaflow retrain`; none is
    promoted. If killed, the next call resumes where it stopped.

    Args:
        project: The checkout; `data/lab` is read.
        recipes: The settings of each by name.
        budget: Seconds of training for each, of the CPU over its threads; what is spent on
            validation, evaluation and costs comes on top.

    Returns:
        A row a recipe, in the order of the names.

    Raises:
        UserError: A recipe, data or server that cannot be used.
    """
    rows = []
    with console.progress("Comparing", len(recipes)) as advance:
        for recipe, settings in recipes.items():
            rows.append(run_recipe(project, settings, recipe, budget))
            advance(1)
    return rows
