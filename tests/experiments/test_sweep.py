import json
import shutil
from collections.abc import Sequence

import optuna
import pytest

from chromaflow.errors import DataError, SettingsError, TrainingInterruptedError
from chromaflow.experiments.sweep import Axis, Configure, sweep
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking import run as tracked
from chromaflow.tracking.client import connect
from tests.experiments.conftest import signal_at, tiny

AXES = [Axis.parse("training.learning_rate=1e-5..1e-2"), Axis.parse("training.batch=2,3")]


@pytest.fixture
def configure(project: Project) -> Configure:
    base = tiny()

    def configure(overrides: Sequence[str]) -> Settings:
        values = dict(text.split("=") for text in overrides)
        update = {name.removeprefix("training."): json.loads(v) for name, v in values.items()}
        return base.model_copy(update={"training": base.training.model_copy(update=update)})

    return configure


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("training.batch=8..32", Axis("training.batch", (), 8, 32, True)),
        ("training.learning_rate=1e-4..1e-2", Axis("training.learning_rate", (), 1e-4, 1e-2)),
        ("model.network.width=0.25,0.5,1", Axis("model.network.width", (0.25, 0.5, 1))),
        ("model.codebook=som,grid313", Axis("model.codebook", ("som", "grid313"))),
    ],
)
def test_axes_are_read(text: str, axis: Axis) -> None:
    assert Axis.parse(text) == axis


@pytest.mark.parametrize("text", ["", "training.batch", "=3", "training.batch=", "a.b=3..1"])
def test_axes_that_cannot_be_are_told(text: str) -> None:
    with pytest.raises(SettingsError, match="--search"):
        Axis.parse(text)


def test_trials_are_nested_runs_and_a_second_call_adds_none(
    project: Project, configure: Configure
) -> None:
    found = sweep(project, configure, AXES, name="tiny", trials=3)
    assert 1 <= len(found) <= 3
    losses = [trial.value for trial in found if trial.value is not None]
    assert len(losses) == len(found)
    assert losses == sorted(losses)
    client = connect(project, tiny())
    runs = client.search_runs([client.get_experiment_by_name("chromaflow").experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(children) == 3
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {"FINISHED"} <= {run.info.status for run in children} <= {"FINISHED", "KILLED"}
    assert not list((project.state / "trials").iterdir())
    again = sweep(project, configure, AXES, name="tiny", trials=3)
    assert [trial.params for trial in again] == [trial.params for trial in found]


def test_a_trial_that_a_kill_broke_off_is_tried_again(
    project: Project, configure: Configure
) -> None:
    storage = f"sqlite:///{project.state / 'sweeps.db'}"
    study = optuna.create_study(study_name="tiny", storage=storage)
    trial = study.ask()
    chosen = {axis.name: axis.draw(trial) for axis in AXES}
    found = sweep(project, configure, AXES, name="tiny", trials=1)
    assert [t.params["training.learning_rate"] for t in found] == [chosen["training.learning_rate"]]


def test_a_signal_ends_the_sweep_and_the_next_call_goes_on_with_its_trial(
    project: Project, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(TrainingInterruptedError):
        patch.setattr(tracked, "train", signal_at(2))
        sweep(project, configure, AXES, name="tiny", trials=2)
    storage = f"sqlite:///{project.state / 'sweeps.db'}"
    interrupted = optuna.load_study(study_name="tiny", storage=storage).trials[0]
    (found,) = sweep(project, configure, AXES, name="tiny", trials=1)
    assert found.params == interrupted.params
    client = connect(project, tiny())
    runs = client.search_runs([client.get_experiment_by_name("chromaflow").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 2, "the sweep's and one of the trial, which went on"


def test_a_sweep_needs_axes_and_a_validation_split(project: Project, configure: Configure) -> None:
    with pytest.raises(SettingsError, match="at least one setting to search"):
        sweep(project, configure, [], name="tiny", trials=1)
    shutil.rmtree(project.lab / "validation")
    with pytest.raises(DataError, match="holds no images"):
        sweep(project, configure, AXES, name="tiny", trials=1)
