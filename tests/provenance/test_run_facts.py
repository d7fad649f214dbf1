import hashlib
import shutil
from pathlib import Path

import pytest
import yaml

import chromaflow
from chromaflow.project import dvc
from chromaflow.project.paths import Project
from chromaflow.provenance import run_facts
from chromaflow.provenance.code_facts import code_digest
from chromaflow.provenance.facts import ELSEWHERE, CodeFacts, LockFacts
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect, experiment_id
from tests.support.tracking import RunGit, WriteCandidate


def test_the_record_of_a_run_holds_code_and_changes(project: Project, git: RunGit) -> None:
    package = project.root / "src" / "chromaflow"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(chromaflow.__file__).parent, package, ignore=ignore)
    git("init", "--initial-branch=main")
    git("add", "src", "params.yaml", "dvc.yaml")
    git("commit", "-m", "first")
    project.params.write_text("seed: 18\n")
    (project.root / "notes.txt").write_text("notes")
    found = run_facts.collect(project, Settings(), "now")
    assert found.facts.code.known_commit
    assert found.facts.code.digest == code_digest(package)
    # The database of the registry is not ignored here.
    missing = ".chromaflow/ (not imported), notes.txt (not imported)"
    assert found.facts.code.changes_kept == f"all but {missing}"
    assert b"+seed: 18" in found.contents["lineage/git/uncommitted.diff"]


def test_code_from_outside_the_checkout_claims_no_commit(project: Project, git: RunGit) -> None:
    git("init", "--initial-branch=main")
    git("add", "params.yaml")
    git("commit", "-m", "first")
    found = run_facts.collect(project, Settings(), "now")
    digest = code_digest(Path(chromaflow.__file__).parent)
    assert found.facts.code == CodeFacts(ELSEWHERE, digest=digest)
    assert "lineage/git/uncommitted.diff" not in found.contents


def test_files_are_kept_byte_by_byte(project: Project, settings: Settings, tmp_path: Path) -> None:
    client = connect(project, settings)
    run = client.create_run(experiment_id(client, project, settings)).info.run_id
    content = b"\xff\x00 no text"
    run_facts.log_files(client, run, {"lineage/git/uncommitted.diff": content})
    kept = client.download_artifacts(run, "lineage/git/uncommitted.diff", str(tmp_path))
    assert Path(kept).read_bytes() == content


def test_data_is_named_by_its_hashes(project: Project) -> None:
    project.raw.mkdir(parents=True)
    (project.raw / "manifest.parquet").write_bytes(b"rows")
    record = {"outs": [{"md5": "a" * 32 + ".dir", "path": "data/raw"}]}
    project.raw_record.write_text(yaml.safe_dump(record))
    found = run_facts.collect(project, Settings(), "now")
    assert found.facts.data.raw_md5 == "a" * 32 + ".dir"
    assert found.facts.data.raw_manifest == hashlib.sha256(b"rows").hexdigest()


def test_no_copy_looks_like_a_record_of_dvc(project: Project) -> None:
    project.raw_record.write_text("outs: []\n")
    names = [
        name.rpartition("/")[2] for name in run_facts.collect(project, Settings(), "now").contents
    ]
    assert {"data.dvc.txt", "params.yaml"} <= set(names)
    assert not [n for n in names if n.endswith(".dvc")]


def test_a_training_records_no_lock_for_its_own_entry_is_not_written_yet(project: Project) -> None:
    (project.root / "dvc.lock").write_text("stages: {}\n")
    found = run_facts.collect(project, Settings(), "now")
    assert found.facts.lock == LockFacts()
    assert not [name for name in found.contents if "dvc.lock" in name]


def write_lock(project: Project, weights: str) -> None:
    inputs = [{"path": "data/lab", "md5": "b.dir"}]
    train = {"deps": inputs, "outs": [{"path": "models/candidate", "md5": weights}]}
    preprocess = {"deps": [{"path": "data/raw", "md5": "a.dir"}], "outs": inputs}
    stages = {"preprocess": preprocess, "train": train}
    (project.root / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))


def test_the_lock_of_the_candidate_is_one_whose_training_gave_it(
    project: Project, write_candidate: WriteCandidate
) -> None:
    write_candidate()
    md5 = dvc.folder_md5(project.candidate)
    write_lock(project, md5)
    facts, content = run_facts.lock_of_candidate(project)
    assert content == (project.root / "dvc.lock").read_bytes()
    assert facts.digest == hashlib.sha256(content).hexdigest()
    assert facts.files == {"data/raw": "a.dir", "data/lab": "b.dir", "models/candidate": md5}


@pytest.mark.parametrize("lock", ["stages: [", "stages: 3", "", "stages: {train: {outs: [3]}}"])
def test_a_lock_about_other_weights_or_a_broken_one_is_not_taken(
    project: Project, write_candidate: WriteCandidate, lock: str
) -> None:
    write_candidate()
    nothing = (LockFacts("none: no entry of dvc.lock matches these weights"), b"")
    assert run_facts.lock_of_candidate(project) == nothing
    write_lock(project, "c" * 32 + ".dir")
    assert run_facts.lock_of_candidate(project) == nothing
    (project.root / "dvc.lock").write_text(lock)
    assert run_facts.lock_of_candidate(project) == nothing


def test_environment_and_machine(project: Project) -> None:
    found = run_facts.collect(project, Settings(), "now")
    assert b"\nnumpy==" in found.contents["lineage/environment/packages.txt"]
    assert run_facts.machine(Settings())["threads"] == 2


def test_parameters_are_flat_and_hold_no_password() -> None:
    settings = Settings.model_validate({"tracking": {"uri": "http://me:hunter2@host:5000"}})
    flat = run_facts.parameters(settings)
    assert flat["training.steps"] == "1000"
    assert flat["seed"] == "17"
    assert flat["tracking.uri"] == "http://host:5000"
