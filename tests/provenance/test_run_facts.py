import hashlib

import pytest
import yaml

from chromaflow.project import dvc
from chromaflow.provenance import run_facts
from chromaflow.provenance.facts import CodeFacts, LockFacts
from chromaflow.settings import Settings


def commit(git, project):
    git("init", "--initial-branch=main")
    (project.root / "code.py").write_text("print('one')\n")
    (project.root / ".env").write_text("TOKEN=first\n")
    (project.root / "server-secrets.yaml").write_text("a: first\n")
    git("add", "-f", "code.py", ".env", "server-secrets.yaml", "params.yaml")
    git("commit", "-m", "first")


def test_a_clean_checkout(project, git):
    commit(git, project)
    (project.root / ".gitignore").write_text("*\n")
    facts = run_facts.code_facts(project)
    assert len(facts.known_commit) == 40
    assert facts.branch == "main"
    assert facts.dirty == "false"


def test_new_settings_do_not_make_the_code_unclean(project, git):
    commit(git, project)
    (project.root / ".gitignore").write_text("*\n")
    project.params.write_text("seed: 18\n")
    assert run_facts.code_facts(project).dirty == "false"
    assert (
        "+seed: 18"
        in run_facts.collect(project, Settings(), "now").texts["lineage/git/uncommitted.diff"]
    )


def test_changed_and_new_files_are_named(project, git):
    commit(git, project)
    (project.root / "code.py").write_text("print('two')\n")
    (project.root / "new.py").write_text("")
    facts = run_facts.code_facts(project)
    assert facts.dirty == "true"
    assert {"code.py", "new.py"} <= set(facts.changed_files.split(", "))


def test_the_diff_holds_code_and_no_secrets(project, git):
    commit(git, project)
    (project.root / "code.py").write_text("print('two')\n")
    (project.root / ".env").write_text("TOKEN=hunter2\n")
    (project.root / "server-secrets.yaml").write_text("a: hunter2\n")
    diff = run_facts.collect(project, Settings(), "now").texts["lineage/git/uncommitted.diff"]
    assert "+print('two')" in diff
    assert "hunter2" not in diff
    assert "first" not in diff


def test_a_huge_diff_is_cut(project, git):
    commit(git, project)
    (project.root / "code.py").write_text("x = 1\n" * 400_000)
    diff = run_facts.collect(project, Settings(), "now").texts["lineage/git/uncommitted.diff"]
    assert len(diff) < 1_100_000
    assert "[cut: " in diff


def test_outside_git_it_says_so(project):
    found = run_facts.collect(project, Settings(), "now")
    assert found.facts.code == CodeFacts("none: no commit of git here")
    assert found.facts.code.known_commit == ""
    assert "lineage/git/uncommitted.diff" not in found.texts


def test_data_is_named_by_its_hashes(project):
    project.raw.mkdir(parents=True)
    (project.raw / "manifest.parquet").write_bytes(b"rows")
    record = {"outs": [{"md5": "a" * 32 + ".dir", "path": "data/raw"}]}
    project.raw_record.write_text(yaml.safe_dump(record))
    found = run_facts.collect(project, Settings(), "now")
    assert found.facts.data.raw_md5 == "a" * 32 + ".dir"
    assert found.facts.data.raw_manifest == hashlib.sha256(b"rows").hexdigest()


def test_no_copy_looks_like_a_record_of_dvc(project):
    project.raw_record.write_text("outs: []\n")
    names = [
        name.rpartition("/")[2] for name in run_facts.collect(project, Settings(), "now").texts
    ]
    assert {"data.dvc.txt", "params.yaml"} <= set(names)
    assert not [n for n in names if n.endswith(".dvc")]


def test_a_training_records_no_lock_for_its_own_entry_is_not_written_yet(project):
    (project.root / "dvc.lock").write_text("stages: {}\n")
    found = run_facts.collect(project, Settings(), "now")
    assert found.facts.lock == LockFacts()
    assert not [name for name in found.texts if "dvc.lock" in name]


def write_lock(project, weights):
    inputs = [{"path": "data/lab", "md5": "b.dir"}]
    train = {"deps": inputs, "outs": [{"path": "models/candidate", "md5": weights}]}
    preprocess = {"deps": [{"path": "data/raw", "md5": "a.dir"}], "outs": inputs}
    stages = {"preprocess": preprocess, "train": train}
    (project.root / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))


def test_the_lock_of_the_candidate_is_one_whose_training_gave_it(project, write_candidate):
    write_candidate()
    md5 = dvc.folder_md5(project.candidate)
    write_lock(project, md5)
    facts, content = run_facts.lock_of_candidate(project)
    assert content == (project.root / "dvc.lock").read_bytes()
    assert facts.digest == hashlib.sha256(content).hexdigest()
    assert facts.files == {"data/raw": "a.dir", "data/lab": "b.dir", "models/candidate": md5}


@pytest.mark.parametrize("lock", ["stages: [", "stages: 3", "", "stages: {train: {outs: [3]}}"])
def test_a_lock_about_other_weights_or_a_broken_one_is_not_taken(project, write_candidate, lock):
    write_candidate()
    nothing = (LockFacts("none: no entry of dvc.lock is about these weights"), b"")
    assert run_facts.lock_of_candidate(project) == nothing
    write_lock(project, "c" * 32 + ".dir")
    assert run_facts.lock_of_candidate(project) == nothing
    (project.root / "dvc.lock").write_text(lock)
    assert run_facts.lock_of_candidate(project) == nothing


def test_environment_and_machine(project):
    found = run_facts.collect(project, Settings(), "now")
    assert "\nnumpy==" in found.texts["lineage/environment/packages.txt"]
    assert run_facts.machine(Settings())["threads"] == 2


def test_parameters_are_flat_and_hold_no_password():
    settings = Settings.model_validate({"tracking": {"uri": "http://me:hunter2@host:5000"}})
    flat = run_facts.parameters(settings)
    assert flat["training.steps"] == "1000"
    assert flat["seed"] == "17"
    assert flat["tracking.uri"] == "http://host:5000"
