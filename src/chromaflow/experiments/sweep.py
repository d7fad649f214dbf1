"""Many settings tried by Optuna, unpromising ones pruned, each trial a nested MLflow run."""

# Lightning decides what a hook is given.
# ruff: noqa: ARG002

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import pytorch_lightning as pl
import yaml
from mlflow.client import MlflowClient
from optuna.trial import FrozenTrial, Trial, TrialState
from pytorch_lightning.callbacks import Callback

from chromaflow import console
from chromaflow.data.store.read import INDEX, is_empty
from chromaflow.errors import (
    DataError,
    SettingsError,
    TrainingInterruptedError,
    TrainingStoppedError,
)
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect, experiment_id
from chromaflow.tracking.run import train_as_run
from chromaflow.training.fit import fingerprint

METRICS = ("validation_loss", "validation_ab_error")
_LOG_RATIO = 10.0

Configure = Callable[[Sequence[str]], Settings]
"""Overrides `group.name=value` to the settings of a trial."""


@dataclass(frozen=True)
class Axis:
    """One setting and where it is searched.

    Attributes:
        name: Such as `training.learning_rate`.
        choices: The values to choose from; empty for a range.
        low: Of a range.
        high: Of a range.
        whole: The range is of whole numbers.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False

    @classmethod
    def parse(cls, text: str) -> "Axis":
        """Read `group.name=a,b,c` or `group.name=low..high`.

        Raises:
            SettingsError: Anything else.
        """
        name, equals, values = text.partition("=")
        if not equals or not name.strip() or not values.strip():
            raise SettingsError(
                f"--search {text}: write it as group.name=low..high or group.name=a,b,c",
                "--search training.learning_rate=1e-4..1e-2",
            )
        ends = re.fullmatch(r"\s*([-+.\deE]+?)\s*\.\.\s*([-+.\deE]+)\s*", values)
        if ends is None:
            return cls(name.strip(), tuple(yaml.safe_load(part) for part in values.split(",")))
        try:
            low, high = (float(end) for end in ends.groups())
        except ValueError:
            raise SettingsError(f"--search {text}: its ends must be numbers.") from None
        if not low < high:
            raise SettingsError(f"--search {text}: the lower end comes first.")
        whole = all(re.fullmatch(r"[-+]?\d+", end) for end in ends.groups())
        return cls(name.strip(), (), low, high, whole)

    def draw(self, trial: Trial) -> Any:
        """A value of the trial; over more than a decade, evenly over the logarithm."""
        if self.choices:
            # Optuna keeps no lists and maps among its choices.
            texts = [json.dumps(choice) for choice in self.choices]
            return json.loads(trial.suggest_categorical(self.name, texts))
        log = self.low > 0 and self.high / self.low >= _LOG_RATIO
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=log)
        return trial.suggest_float(self.name, self.low, self.high, log=log)


class _Report(Callback):
    """Tells Optuna each validation, and ends a trial that falls behind the others."""

    def __init__(self, trial: Trial, metric: str) -> None:
        self._trial, self._metric = trial, metric

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the metric; stop where the trial is to be pruned."""
        value = float(trainer.callback_metrics[self._metric])
        self._trial.report(value, trainer.global_step)
        if self._trial.should_prune():
            raise optuna.TrialPruned(f"step {trainer.global_step}: {value:.4g}")


def _check_validation(project: Project) -> None:
    folder = project.lab / "validation"
    if not (folder / INDEX).is_file() or is_empty(folder):
        raise DataError(
            f"{folder} holds no images: a sweep compares its trials on the validation split.",
            "set split.validation=0.1, then run chromaflow validate and chromaflow preprocess",
        )


def _open_study(project: Project, name: str, seed: int, warmup: int) -> optuna.Study:
    """The study of a name, whose trials that a kill broke off are tried again first."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    project.state.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{project.state / 'sweeps.db'}",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=warmup),
    )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


@dataclass(frozen=True)
class _Objective:
    """What Optuna minimizes: the metric of a training with the settings that it draws."""

    project: Project
    configure: Configure
    axes: Sequence[Axis]
    sweep: str
    metric: str
    parent: str
    study: optuna.Study

    def train(self, trial: Trial) -> float:
        """Train with the settings of a trial; an interrupted trial resumes."""
        chosen = {axis.name: axis.draw(trial) for axis in self.axes}
        values = self.configure([f"{key}={json.dumps(value)}" for key, value in chosen.items()])
        digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]
        place = self.project.trial(f"{self.sweep}-{digest}")
        try:
            result = train_as_run(
                place,
                values,
                fingerprint(place, values),
                name=", ".join(f"{key.split('.')[-1]} {value}" for key, value in chosen.items()),
                parent=self.parent,
                callbacks=[_Report(trial, self.metric)],
                stops=(optuna.TrialPruned,),
            )
        except optuna.TrialPruned:
            shutil.rmtree(place.candidate.parent, ignore_errors=True)
            raise
        except TrainingInterruptedError:
            # Optuna takes it for a failure, and the next call would draw other settings.
            self.study.enqueue_trial(trial.params)
            raise
        # Its record is complete, and its settings bring the same weights again.
        shutil.rmtree(place.candidate.parent)
        return float(result[self.metric])


def sweep(
    project: Project,
    configure: Configure,
    axes: Sequence[Axis],
    *,
    name: str,
    trials: int,
    metric: str = "validation_loss",
) -> list[FrozenTrial]:
    """Try settings, and keep every trial as an MLflow run below that of the sweep.

    If killed, the next call with the same name resumes: finished trials are kept, and the
    interrupted one resumes from its checkpoint.

    Args:
        project: The checkout; `data/lab` is read.
        configure: Gives the settings of a trial.
        axes: What is searched.
        name: Of the sweep.
        trials: That have ended when it is over, those of earlier calls among them.
        metric: One of `METRICS`, the lower the better.

    Returns:
        The trials that have ended, the best first.

    Raises:
        SettingsError: No axis, or a setting that cannot be.
        DataError: There is no validation split.
        ServerError: MLflow does not answer, or another training is running here.
        TrainingInterruptedError: A signal asked to stop.
    """
    if not axes:
        raise SettingsError(
            "a sweep needs at least one setting to search.", "--search training.batch=8,16"
        )
    _check_validation(project)
    base = configure([])
    study = _open_study(project, name, base.seed, base.training.steps // 5)
    parent = _parent_run(connect(project, base), project, base, study)

    objective = _Objective(project, configure, axes, name, metric, parent, study)
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    with project.lock("training"), console.progress("Sweeping", trials) as advance:
        done = len(study.get_trials(deepcopy=False, states=ended))
        advance(done)
        study.optimize(
            objective.train,
            n_trials=max(0, trials - done),
            catch=(TrainingStoppedError,),
            callbacks=[lambda *_: advance(1)],
        )
    found = study.get_trials(states=(TrialState.COMPLETE,))
    return sorted(found, key=lambda trial: trial.value if trial.value is not None else math.inf)


def _parent_run(
    client: MlflowClient, project: Project, settings: Settings, study: optuna.Study
) -> str:
    """The run of the sweep, made by its first call."""
    known = study.user_attrs.get("run_id")
    if known:
        return str(known)
    experiment = experiment_id(client, project, settings)
    run_id = str(client.create_run(experiment, run_name=f"sweep {study.study_name}").info.run_id)
    client.set_terminated(run_id)
    study.set_user_attr("run_id", run_id)
    return run_id
