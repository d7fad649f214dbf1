import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from chromaflow.errors import ModelError, ServerError
from chromaflow.project import dvc, files
from chromaflow.provenance.facts import LockFacts, RunFacts
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect, experiment_id
from chromaflow.tracking.registry import register
from chromaflow.tracking.registry.lookup import champion, version_of


@pytest.fixture
def candidate(write_candidate, write_evaluation):
    digest = write_candidate()
    write_evaluation(digest)
    return digest


def crown(project, settings, version):
    connect(project, settings).set_registered_model_alias("chromaflow", "champion", str(version))


def artifact_of(project, settings, digest):
    with register.verified_folder(project, settings, version_of(project, settings, digest)) as path:
        return path


def test_a_candidate_becomes_a_version_with_its_metrics_run_and_files(project, settings, candidate):
    result = register.register(project, settings)
    assert result == {
        "model": "chromaflow",
        "version": 1,
        "digest": candidate,
        "run_id": result["run_id"],
        "created": True,
    }
    client = connect(project, settings)
    run = client.get_run(result["run_id"])
    assert run.data.tags["model_digest"] == candidate
    assert "cache of DVC" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics["test/auc_rebalanced"] == 0.6
    assert run.info.status == "FINISHED"
    assert [i.dataset.name for i in run.inputs.dataset_inputs] == ["train", "validation", "test"]
    version = client.get_model_version("chromaflow", "1")
    assert version.tags["digest"] == candidate
    assert version.tags["run_id"] == result["run_id"]
    model_id = version.source.removeprefix("models:/")
    logged = client.get_logged_model(model_id)
    assert '"version": 1' in logged.tags["mlflow.modelVersions"]
    assert {(m.key, m.dataset_name) for m in logged.metrics} == {
        ("test/auc_rebalanced", "test"),
        ("test/delta_e_2000", "test"),
    }
    assert [o.model_id for o in run.outputs.model_outputs] == [model_id]
    assert {f.path for f in client.list_artifacts(result["run_id"], "evaluation")} == {
        "evaluation/metrics.json",
        "evaluation/per_image.csv",
        "evaluation/pictures",
    }


def test_nothing_in_the_artifact_is_a_pickle(project, settings, candidate):
    register.register(project, settings)
    package = artifact_of(project, settings, candidate).parents[1]
    endings = {path.suffix for path in package.rglob("*") if path.is_file()}
    assert not endings & {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".pyc"}
    assert (package / "artifacts/model/weights.safetensors").is_file()
    pins = (package / "requirements.txt").read_text().split()
    assert all("==" in pin and "+" not in pin for pin in pins)


def test_the_same_weights_are_never_two_versions(project, settings, candidate, write_candidate):
    first = register.register(project, settings)
    assert register.register(project, settings) == {**first, "created": False}
    write_candidate(seed=0)
    assert register.register(project, settings)["version"] == 1


def test_other_weights_are_another_version(
    project, settings, candidate, write_candidate, write_evaluation
):
    register.register(project, settings)
    write_evaluation(write_candidate(seed=1))
    assert register.register(project, settings)["version"] == 2


def test_the_run_that_trained_the_weights_is_found(project, settings, candidate):
    client = connect(project, settings)
    experiment = experiment_id(client, project, settings)
    tags = {"model_digest": candidate, "git.commit": "c" * 40}
    run = client.create_run(experiment, tags=tags)
    result = register.register(project, settings)
    assert result["run_id"] == run.info.run_id
    assert version_of(project, settings, candidate).tags["git.commit"] == "c" * 40


def test_run_and_version_hold_the_lock_of_their_own_training(
    project, settings, write_candidate, write_evaluation
):
    client = connect(project, settings)
    experiment = experiment_id(client, project, settings)
    for seed in (0, 1):
        digest = write_candidate(seed)
        write_evaluation(digest)
        run = client.create_run(experiment, tags={"model_digest": digest}).info.run_id
        outputs = [{"path": "models/candidate", "md5": dvc.folder_md5(project.candidate)}]
        train = {"deps": [{"path": "data/lab", "md5": f"lab {seed}"}], "outs": outputs}
        (project.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"train": train}}))
        register.register(project, settings)
        lock = version_of(project, settings, digest).facts.run.lock
        assert lock.files["models/candidate"] == outputs[0]["md5"]
        assert lock.files["data/lab"] == f"lab {seed}"
        assert RunFacts.from_tags(client.get_run(run).data.tags).lock == lock
        kept = client.download_artifacts(run, "lineage/dvc.lock.txt", str(project.root))
        assert files.sha256_of(Path(kept)) == lock.digest


def test_weights_that_dvc_did_not_make_get_no_lock(project, settings, candidate):
    (project.root / "dvc.lock").write_text("stages: {}\n")
    run = register.register(project, settings)["run_id"]
    lock = version_of(project, settings, candidate).facts.run.lock
    assert lock == LockFacts("none: no entry of dvc.lock is about these weights")
    client = connect(project, settings)
    assert RunFacts.from_tags(client.get_run(run).data.tags).lock == lock
    assert "lineage/dvc.lock.txt" not in {f.path for f in client.list_artifacts(run, "lineage")}


def test_no_candidate_names_what_makes_one(project, settings):
    with pytest.raises(ModelError, match="candidate") as raised:
        register.register(project, settings)
    assert raised.value.mend == "chromaflow retrain"


def test_an_evaluation_of_other_weights_is_refused(project, settings, candidate, write_evaluation):
    write_evaluation("f" * 64)
    with pytest.raises(ModelError, match=r"metrics\.json") as raised:
        register.register(project, settings)
    assert "evaluate" in raised.value.mend


def test_no_evaluation_is_refused(project, settings, write_candidate):
    write_candidate()
    with pytest.raises(ModelError, match=r"metrics\.json"):
        register.register(project, settings)


def test_a_server_that_is_down_is_named(project, candidate):
    settings = Settings.model_validate({"tracking": {"uri": "http://127.0.0.1:9"}})
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:9"):
        register.register(project, settings)


def _register_and_die(project, settings, method, after):
    original = getattr(MlflowClient, method)

    def die(*arguments, **keywords):
        if after:
            original(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowClient, method, die)
    register.register(project, settings)


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
    project, settings, candidate, method, after, versions
):
    arguments = (project, settings, method, after)
    killed = multiprocessing.get_context("fork").Process(target=_register_and_die, args=arguments)
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    client = connect(project, settings)
    assert len(client.search_model_versions("name = 'chromaflow'")) == versions
    result = register.register(project, settings)
    assert (result["version"], result["created"]) == (1, versions == 0)
    assert artifact_of(project, settings, candidate).is_dir()
    experiment = experiment_id(client, project, settings)
    assert [str(m.status) for m in client.search_logged_models([experiment])] == ["READY"]
    assert len(client.search_runs([experiment])) == 1


def _register(project, settings, results):
    results.put(register.register(project, settings))


def test_two_at_once_make_one_version(project, settings, candidate):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    both = [context.Process(target=_register, args=(project, settings, results)) for _ in "ab"]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
    found = [results.get() for _ in both]
    assert {result["version"] for result in found} == {1}
    assert sorted(result["created"] for result in found) == [False, True]


def test_a_version_made_by_another_checkout_meanwhile_stays_and_ours_goes(
    project, settings, candidate, monkeypatch
):
    client = connect(project, settings)
    client.create_registered_model("chromaflow")
    create = type(client).create_model_version

    def other_first(self, name, **keywords):
        create(self, name, **keywords)
        return create(self, name, **keywords)

    monkeypatch.setattr(type(client), "create_model_version", other_first)
    assert register.register(project, settings)["version"] == 1
    assert [v.version for v in client.search_model_versions("name = 'chromaflow'")] == [1]


def test_champion_folder_holds_the_registered_bytes(project, settings, candidate):
    crown(project, settings, register.register(project, settings)["version"])
    folder = register.champion_folder(project, settings)
    assert files.digest_of_folder(folder) == candidate
    assert folder.is_relative_to(project.state)
    (folder / "weights.safetensors").write_bytes(b"changed in the cache")
    again = register.champion_folder(project, settings)
    assert files.digest_of_folder(again) == candidate


def test_a_tampered_artifact_is_never_used(project, settings, candidate):
    crown(project, settings, register.register(project, settings)["version"])
    artifact = artifact_of(project, settings, candidate)
    (artifact / "weights.safetensors").write_bytes(b"other weights")
    with pytest.raises(ModelError, match="not what was registered"):
        register.champion_folder(project, settings)


def test_a_lost_artifact_is_told(project, settings, candidate):
    crown(project, settings, register.register(project, settings)["version"])
    (project.state / "artifacts").rename(project.root / "elsewhere")
    with pytest.raises(ModelError, match="version 1"):
        register.champion_folder(project, settings)


def test_no_champion_names_what_makes_one(project, settings):
    assert register.serving(project, settings) == {}
    with pytest.raises(ModelError, match="no champion") as raised:
        register.champion_folder(project, settings)
    assert "chromaflow retrain" in raised.value.mend


def test_serving_tells_version_digest_metrics_and_run(project, settings, candidate):
    result = register.register(project, settings)
    crown(project, settings, 1)
    found = register.serving(project, settings)
    assert found["version"] == 1
    assert found["digest"] == candidate
    assert found["run_id"] == result["run_id"]
    assert found["metrics"] == {"auc_rebalanced": 0.6, "delta_e_2000": 14.0}
    assert found["decided"] is None
    assert found["since"].endswith("+00:00")


def test_sql_and_client_give_the_same_version(project, settings, candidate, monkeypatch):
    register.register(project, settings)
    crown(project, settings, 1)
    by_sql = [champion(project, settings), version_of(project, settings, candidate)]
    from chromaflow.tracking.registry import lookup

    def unknown(*arguments):
        raise lookup._NoQuickAnswerError

    monkeypatch.setattr(lookup, "_by_sql", unknown)
    by_client = [champion(project, settings), version_of(project, settings, candidate)]
    for sql, client in zip(by_sql, by_client, strict=True):
        assert (sql.version, sql.run_id, sql.created) == (
            client.version,
            client.run_id,
            client.created,
        )
        assert dict(sql.tags) == dict(client.tags)
    assert version_of(project, settings, "0" * 64) is None
    connect(project, settings).delete_registered_model_alias("chromaflow", "champion")
    assert champion(project, settings) is None


def test_a_deleted_version_is_no_version(project, settings, candidate):
    register.register(project, settings)
    crown(project, settings, 1)
    connect(project, settings).delete_model_version("chromaflow", "1")
    assert version_of(project, settings, candidate) is None
    assert champion(project, settings) is None
    assert register.register(project, settings)["created"]


def test_looking_imports_no_mlflow(project, settings, candidate, run_python):
    register.register(project, settings)
    code = f"""
import sys
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.registry.register import register, serving
project = Project(Path({str(project.root)!r}))
assert not register(project, Settings())["created"]
assert serving(project, Settings()) == {{}}
assert not {{"mlflow", "torch", "pandas", "sqlalchemy"}} & set(sys.modules)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
