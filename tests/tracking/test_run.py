import json
import warnings
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from pytorch_lightning.callbacks import Callback

import chromaflow
from chromaflow.errors import (
    ChromaflowWarning,
    ServerError,
    TrainingInterruptedError,
    TrainingStoppedError,
)
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.provenance.code_facts import code_digest
from chromaflow.provenance.facts import ELSEWHERE, CodeFacts, FlowFacts, RunFacts
from chromaflow.settings import Settings
from chromaflow.tracking import run as module
from chromaflow.tracking.client import connect, experiment_id
from chromaflow.tracking.run import grid, train_as_run, training_run
from tests.support.manifests import report

FINGERPRINT = "f" * 64
RESULT = {
    "digest": "d" * 64,
    "fingerprint": FINGERPRINT,
    "steps": 100,
    "crops": 1600,
    "resumed_from": 0,
}


def runs(project: Project, settings: Settings) -> tuple[MlflowClient, list[Run]]:
    client = connect(project, settings)
    return client, client.search_runs([experiment_id(client, project, settings)])


def test_a_training_leaves_settings_data_metrics_pictures_and_result(
    project: Project, settings: Settings
) -> None:
    files.write_text(project.training_report / "curves.csv", "step\n")
    files.write_json(project.validated / "validation.json", report(splits={"train": 7}))
    with training_run(project, settings, FINGERPRINT) as run:
        (logger,), (pictures,) = run.loggers, run.callbacks
        for step in range(1, 6):
            logger.log_metrics({"train_loss": 1 / step}, step=step)
        pictures._show(3, torch.full((2, 1, 4, 4), 50.0), *torch.zeros(2, 2, 2, 4, 4))
        run.finish(RESULT)
    client, (found,) = runs(project, settings)
    assert found.info.run_id == run.run_id
    assert found.info.status == "FINISHED"
    assert found.data.params["training.steps"] == "1000"
    assert found.data.tags["model_digest"] == "d" * 64
    code = RunFacts.from_tags(found.data.tags).code
    assert code == CodeFacts(ELSEWHERE, digest=code_digest(Path(chromaflow.__file__).parent))
    assert found.data.metrics["train_loss"] == 0.2
    assert found.data.metrics["throughput"] > 0
    assert len(client.get_metric_history(run.run_id, "train_loss")) == 5
    datasets = {i.dataset.name: i.dataset for i in found.inputs.dataset_inputs}
    assert json.loads(datasets["train"].profile) == {"images": 7}
    assert all(len(dataset.digest) <= 36 for dataset in datasets.values())
    listed = {
        file.path
        for folder in ("pictures", "training", "lineage")
        for file in client.list_artifacts(run.run_id, folder)
    }
    assert {"pictures/step-000003.png", "training/curves.csv", "lineage/params.yaml"} <= listed


def test_a_killed_training_goes_on_in_its_run_and_repeats_no_metric(
    project: Project, settings: Settings
) -> None:
    with pytest.raises(KeyboardInterrupt), training_run(project, settings, FINGERPRINT) as first:
        for step in (10, 20):
            first.loggers[0].log_metrics({"train_loss": step}, step=step)
        raise KeyboardInterrupt
    client, (found,) = runs(project, settings)
    assert found.info.status == "KILLED"
    with training_run(project, settings, FINGERPRINT) as second:
        assert client.get_run(second.run_id).info.status == "RUNNING"
        for step in (20, 30):
            second.loggers[0].log_metrics({"train_loss": step}, step=step)
        second.finish(RESULT)
    assert second.run_id == first.run_id
    history = client.get_metric_history(first.run_id, "train_loss")
    assert [metric.step for metric in history] == [10, 20, 30]
    assert len(runs(project, settings)[1]) == 1


def test_the_flow_run_that_goes_on_with_a_training_is_its_flow_run(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flow in (FlowFacts("first", "http://127.0.0.1:4200/first"), FlowFacts("second", "none")):
        for name, value in flow.to_environment().items():
            monkeypatch.setenv(name, value)
        with training_run(project, settings, FINGERPRINT) as run:
            pass
        (found,) = runs(project, settings)[1]
        assert found.info.run_id == run.run_id
        assert FlowFacts.from_tags(found.data.tags) == flow


def test_another_fingerprint_is_another_run(project: Project, settings: Settings) -> None:
    with training_run(project, settings, FINGERPRINT) as first:
        pass
    other = Settings.model_validate({"model": {"network": "richart"}})
    with training_run(project, other, "e" * 64) as second:
        pass
    assert first.run_id != second.run_id


def test_a_run_of_another_database_is_not_gone_on_with(
    project: Project, settings: Settings
) -> None:
    place = project.checkpoints / FINGERPRINT / "mlflow_run.txt"
    files.write_text(place, "0" * 32)
    with training_run(project, settings, FINGERPRINT) as run:
        assert place.read_text().strip() == run.run_id != "0" * 32


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("broken"), "FAILED"),
        (TrainingStoppedError("the loss of step 3 is nan"), "FAILED"),
        (TrainingInterruptedError("the training was asked to stop"), "KILLED"),
    ],
)
def test_how_a_training_ended_is_kept(
    project: Project, settings: Settings, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), training_run(project, settings, FINGERPRINT):
        raise error
    assert runs(project, settings)[1][0].info.status == status


def test_an_exception_that_is_no_fault_ends_the_run_like_an_interruption(
    project: Project, settings: Settings
) -> None:
    with (
        pytest.raises(LookupError),
        training_run(project, settings, FINGERPRINT, stops=(LookupError,)),
    ):
        raise KeyError("pruned")
    assert runs(project, settings)[1][0].info.status == "KILLED"


def test_a_training_as_a_run_is_given_what_is_known_of_it(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_text(project.training_report / "curves.csv", "step\n")
    given: dict[str, Any] = {}

    def train(*arguments: Any, **options: Any) -> dict[str, Any]:
        given.update(options, arguments=arguments)
        return RESULT

    own = Callback()
    monkeypatch.setattr(module, "train", train)
    result = train_as_run(project, settings, FINGERPRINT, name="one", callbacks=[own])
    assert result == RESULT
    assert given["arguments"] == (project, settings)
    assert given["known_fingerprint"] == FINGERPRINT
    assert given["callbacks"][1:] == [own]
    (found,) = runs(project, settings)[1]
    assert [logger.version for logger in given["loggers"]] == [found.info.run_id]
    assert (found.info.status, found.info.run_name) == ("FINISHED", "one")
    assert found.data.tags["fingerprint"] == FINGERPRINT


def test_other_ranks_log_nothing(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with training_run(project, settings, FINGERPRINT) as run:
        assert (run.loggers, run.callbacks) == ([], [])
        run.finish(RESULT)
    assert runs(project, settings)[1] == []


def test_a_server_that_is_down_is_told_before_the_training(project: Project) -> None:
    settings = Settings.model_validate({"tracking": {"uri": "http://127.0.0.1:9"}})
    with pytest.raises(ServerError, match="127"), training_run(project, settings, FINGERPRINT):
        pytest.fail("the training started")


def test_a_server_that_goes_away_costs_records_and_not_the_training(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: object, **keywords: object) -> Never:
        raise MlflowException("connection refused")

    with (
        pytest.warns(ChromaflowWarning) as caught,
        training_run(project, settings, FINGERPRINT) as run,
    ):
        run.loggers[0].log_metrics({"train_loss": 1.0}, step=1)
        for method in ("log_batch", "log_artifacts", "set_terminated"):
            monkeypatch.setattr(type(connect(project, settings)), method, gone)
        run.finish(RESULT)
    texts = " ".join(str(warning.message) for warning in caught)
    assert "did not take all" in texts
    assert "was not closed" in texts


def test_a_server_that_comes_back_gets_everything(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch = MlflowClient.log_batch
    failures: list[int] = []

    def sometimes(self: MlflowClient, run_id: str, *arguments: object, **keywords: object) -> None:
        if len(failures) < 2:
            failures.append(1)
            raise MlflowException("connection refused")
        log_batch(self, run_id, *arguments, **keywords)

    with warnings.catch_warnings():
        warnings.simplefilter("error", ChromaflowWarning)
        with training_run(project, settings, FINGERPRINT) as run:
            logger = run.loggers[0]
            monkeypatch.setattr(MlflowClient, "log_batch", sometimes)
            for step in range(1, 601):
                logger._sent_at = 0.0 if step % 200 == 0 else logger._sent_at
                logger.log_metrics({"train_loss": 0.0, "learning_rate": 0.0}, step=step)
                while logger._sending and not logger._sending.done():
                    pass
            run.finish(RESULT)
    client, _ = runs(project, settings)
    assert len(client.get_metric_history(run.run_id, "train_loss")) == 600
    assert len(failures) == 2


def test_the_grid_shows_grey_predicted_and_true() -> None:
    lightness = torch.full((2, 1, 8, 8), 50.0)
    red, blue = torch.zeros(2, 2, 8, 8), torch.zeros(2, 2, 8, 8)
    red[:, 0], blue[:, 1] = 60.0, -60.0
    image = grid(lightness, red, blue)
    assert image.size == (24, 16)
    pixels = np.asarray(image)
    grey, first, second = (pixels[12, x].astype(int) for x in (4, 12, 20))
    assert max(grey) - min(grey) <= 1
    assert first[0] > first[2]
    assert second[2] > second[0]
