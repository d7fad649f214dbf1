import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from chromaflow.errors import ModelError
from chromaflow.project import dvc, files
from chromaflow.project.paths import Project
from chromaflow.provenance.facts import LockFacts, RunFacts
from chromaflow.settings import Settings
from chromaflow.steps.register import RegisterResult, register
from chromaflow.tracking.client import connect, experiment_id
from chromaflow.tracking.registry.lookup import Version
from chromaflow.tracking.registry.registry import Registry
from tests.support.tracking import WriteCandidate, WriteEvaluation


def version_of(project: Project, settings: Settings, digest: str) -> Version:
    found = Registry(project, settings).version_of(digest)
    assert found is not None
    return found


def test_a_candidate_becomes_a_version_with_its_metrics_run_and_files(
    project: Project, settings: Settings, candidate: str
) -> None:
    result = register(project, settings)
    assert result == RegisterResult("chromaflow", 1, candidate, result.run_id, created=True)
    client = connect(project, settings)
    run = client.get_run(result.run_id)
    assert run.data.tags["model_digest"] == candidate
    assert "cache of DVC" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics["test/auc_rebalanced"] == 0.6
    assert run.info.status == "FINISHED"
    assert [i.dataset.name for i in run.inputs.dataset_inputs] == ["train", "validation", "test"]
    version = client.get_model_version("chromaflow", "1")
    assert version.tags["digest"] == candidate
    assert version.tags["run_id"] == result.run_id
    model_id = version.source.removeprefix("models:/")
    logged = client.get_logged_model(model_id)
    assert '"version": 1' in logged.tags["mlflow.modelVersions"]
    assert {(m.key, m.dataset_name) for m in logged.metrics} == {
        ("test/auc_rebalanced", "test"),
        ("test/delta_e_2000", "test"),
    }
    assert [o.model_id for o in run.outputs.model_outputs] == [model_id]
    assert {f.path for f in client.list_artifacts(result.run_id, "evaluation")} == {
        "evaluation/metrics.json",
        "evaluation/per_image.csv",
        "evaluation/pictures",
    }


def test_other_weights_are_another_version(
    project: Project,
    settings: Settings,
    candidate: str,
    write_candidate: WriteCandidate,
    write_evaluation: WriteEvaluation,
) -> None:
    register(project, settings)
    write_evaluation(write_candidate(seed=1))
    assert register(project, settings).version == 2


def test_the_run_that_trained_the_weights_is_found(
    project: Project, settings: Settings, candidate: str
) -> None:
    client = connect(project, settings)
    experiment = experiment_id(client, project, settings)
    tags = {"model_digest": candidate, "git.commit": "c" * 40}
    run = client.create_run(experiment, tags=tags)
    result = register(project, settings)
    assert result.run_id == run.info.run_id
    assert version_of(project, settings, candidate).tags["git.commit"] == "c" * 40


def test_run_and_version_hold_the_lock_of_their_own_training(
    project: Project,
    settings: Settings,
    write_candidate: WriteCandidate,
    write_evaluation: WriteEvaluation,
) -> None:
    client = connect(project, settings)
    experiment = experiment_id(client, project, settings)
    for seed in (0, 1):
        digest = write_candidate(seed)
        write_evaluation(digest)
        run = client.create_run(experiment, tags={"model_digest": digest}).info.run_id
        outputs = [{"path": "models/candidate", "md5": dvc.folder_md5(project.candidate)}]
        train = {"deps": [{"path": "data/lab", "md5": f"lab {seed}"}], "outs": outputs}
        (project.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"train": train}}))
        register(project, settings)
        lock = version_of(project, settings, digest).facts.run.lock
        assert lock.files["models/candidate"] == outputs[0]["md5"]
        assert lock.files["data/lab"] == f"lab {seed}"
        assert RunFacts.from_tags(client.get_run(run).data.tags).lock == lock
        kept = client.download_artifacts(run, "lineage/dvc.lock.txt", str(project.root))
        assert files.sha256_of(Path(kept)) == lock.digest


def test_weights_that_dvc_did_not_make_get_no_lock(
    project: Project, settings: Settings, candidate: str
) -> None:
    (project.root / "dvc.lock").write_text("stages: {}\n")
    run = register(project, settings).run_id
    lock = version_of(project, settings, candidate).facts.run.lock
    assert lock == LockFacts("none: no entry of dvc.lock matches these weights")
    client = connect(project, settings)
    assert RunFacts.from_tags(client.get_run(run).data.tags).lock == lock
    assert "lineage/dvc.lock.txt" not in {f.path for f in client.list_artifacts(run, "lineage")}


def test_an_evaluation_of_other_weights_is_refused(
    project: Project, settings: Settings, candidate: str, write_evaluation: WriteEvaluation
) -> None:
    write_evaluation("f" * 64)
    with pytest.raises(ModelError, match=r"metrics\.json") as raised:
        register(project, settings)
    assert "evaluate" in raised.value.remedy


def test_no_evaluation_is_refused(
    project: Project, settings: Settings, write_candidate: WriteCandidate
) -> None:
    write_candidate()
    with pytest.raises(ModelError, match=r"metrics\.json"):
        register(project, settings)


def _register_and_die(project: Project, settings: Settings, method: str, after: bool) -> None:
    original = getattr(MlflowClient, method)

    def die(*arguments: Any, **keywords: Any) -> None:
        if after:
            original(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowClient, method, die)
    register(project, settings)


@pytest.mark.parametrize(
    ("method", "after", "versions"),
    [
        ("log_model_artifacts", True, 0),
        ("log_batch", True, 0),
        ("create_model_version", False, 0),
        ("create_model_version", True, 1),
    ],
)
def test_a_kill_leaves_it_registered_whole_or_not_at_all(
    project: Project, settings: Settings, candidate: str, method: str, after: bool, versions: int
) -> None:
    arguments = (project, settings, method, after)
    killed = multiprocessing.get_context("fork").Process(target=_register_and_die, args=arguments)
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    client = connect(project, settings)
    assert len(client.search_model_versions("name = 'chromaflow'")) == versions
    result = register(project, settings)
    assert (result.version, result.created) == (1, versions == 0)
    with Registry(project, settings).verified_folder(version_of(project, settings, candidate)):
        pass
    experiment = experiment_id(client, project, settings)
    assert [str(m.status) for m in client.search_logged_models([experiment])] == ["READY"]
    assert len(client.search_runs([experiment])) == 1


def test_a_version_made_by_another_checkout_meanwhile_stays_and_ours_goes(
    project: Project, settings: Settings, candidate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(project, settings)
    client.create_registered_model("chromaflow")
    create = type(client).create_model_version

    def other_first(self: MlflowClient, name: str, **keywords: Any) -> ModelVersion:
        create(self, name, **keywords)
        return create(self, name, **keywords)

    monkeypatch.setattr(type(client), "create_model_version", other_first)
    assert register(project, settings).version == 1
    assert [v.version for v in client.search_model_versions("name = 'chromaflow'")] == [1]
