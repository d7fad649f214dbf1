import shutil
import subprocess

import pytest
import yaml

from chromaflow.errors import UserError
from chromaflow.project import dvc, files
from chromaflow.project.paths import Project


@pytest.fixture
def checkout(project: Project) -> Project:
    subprocess.run(["git", "init", "--quiet"], cwd=project.root, check=True)
    subprocess.run(dvc.command("init", "--quiet"), cwd=project.root, check=True)
    files.write_text(project.raw / "manifest.parquet", "one image")
    return project


def test_a_snapshot_is_recorded_once(checkout: Project) -> None:
    assert dvc.snapshot_digest(checkout) == ""
    assert dvc.record_snapshot(checkout)
    digest = dvc.snapshot_digest(checkout)
    assert digest.endswith(".dir")
    assert not dvc.record_snapshot(checkout)
    files.write_text(checkout.raw / "manifest.parquet", "two images")
    assert dvc.record_snapshot(checkout)
    assert dvc.snapshot_digest(checkout) != digest


def test_equal_data_has_an_equal_digest_and_changes_no_record(checkout: Project) -> None:
    dvc.record_snapshot(checkout)
    record = checkout.raw_record.read_bytes()
    shutil.rmtree(checkout.raw)
    files.write_text(checkout.raw / "manifest.parquet", "one image")
    assert not dvc.record_snapshot(checkout)
    assert checkout.raw_record.read_bytes() == record


def test_a_snapshot_made_anew_enters_the_cache(checkout: Project) -> None:
    dvc.record_snapshot(checkout)
    record = checkout.raw_record.read_bytes()
    shutil.rmtree(checkout.root / ".dvc" / "cache")
    assert not dvc.record_snapshot(checkout)
    assert checkout.raw_record.read_bytes() == record
    shutil.rmtree(checkout.raw)
    assert dvc.fetch_snapshot(checkout)


def test_a_lost_snapshot_comes_back_from_the_cache_or_a_remote(
    checkout: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dvc.record_snapshot(checkout)
    remote = tmp_path_factory.mktemp("remote")
    for arguments in (["remote", "add", "--default", "store", str(remote)], ["push", "data.dvc"]):
        subprocess.run(dvc.command(*arguments), cwd=checkout.root, check=True, capture_output=True)
    assert not dvc.fetch_snapshot(checkout)
    for lost in (checkout.raw, checkout.root / ".dvc" / "cache"):
        shutil.rmtree(lost)
        if checkout.raw.exists():
            shutil.rmtree(checkout.raw)
        assert dvc.fetch_snapshot(checkout)
        assert (checkout.raw / "manifest.parquet").read_text() == "one image"


def test_without_a_remote_nothing_is_fetched(checkout: Project) -> None:
    dvc.record_snapshot(checkout)
    shutil.rmtree(checkout.raw)
    shutil.rmtree(checkout.root / ".dvc" / "cache")
    assert not dvc.fetch_snapshot(checkout)


def test_a_folder_has_the_md5_that_dvc_gives_it(checkout: Project) -> None:
    files.write_text(checkout.raw / "folder" / "überall.tar", "shard")
    files.write_text(checkout.raw / "folder-2" / "b.tar", "")
    dvc.record_snapshot(checkout)
    assert dvc.folder_md5(checkout.raw) == dvc.snapshot_digest(checkout)


PIPELINE = """
stages:
  first: {cmd: cp -r data one, deps: [data], outs: [one]}
  second: {cmd: cp -r one two, deps: [one, code.py], outs: [two]}
  after: {cmd: cp -r two three, deps: [two], outs: [three]}
  other: {cmd: cp code.py four, deps: [code.py], outs: [four]}
"""


def test_the_history_of_an_output_is_what_the_lock_says_that_led_to_it(checkout: Project) -> None:
    root = checkout.root
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "code.py").write_text("print()")
    (root / "data").mkdir(exist_ok=True)
    subprocess.run(dvc.command("repro", "--quiet"), cwd=root, check=True)
    old_lock, old = (root / "dvc.lock").read_bytes(), dvc.folder_md5(root / "two")
    found = dvc.history(old_lock, "two", old)
    assert set(found) == {"data", "one", "code.py", "two"}
    assert found["data"] == dvc.folder_md5(root / "data")
    (root / "data" / "new").write_text("more")
    subprocess.run(dvc.command("repro", "--quiet"), cwd=root, check=True)
    new_lock, new = (root / "dvc.lock").read_bytes(), dvc.folder_md5(root / "two")
    assert dvc.history(new_lock, "two", new)["data"] == dvc.folder_md5(root / "data")
    assert dvc.history(new_lock, "two", old) == {}
    assert dvc.history(old_lock, "two", new) == {}


def test_a_stage_before_that_was_run_again_since_is_no_part_of_the_history(
    checkout: Project,
) -> None:
    (checkout.root / "dvc.yaml").write_text(PIPELINE)
    (checkout.root / "code.py").write_text("print()")
    repro = dvc.command("repro", "--quiet")
    subprocess.run(repro, cwd=checkout.root, check=True)
    files.write_text(checkout.root / "data" / "new", "more")
    subprocess.run([*repro, "--single-item", "first"], cwd=checkout.root, check=True)
    lock = (checkout.root / "dvc.lock").read_bytes()
    found = dvc.history(lock, "two", dvc.folder_md5(checkout.root / "two"))
    assert set(found) == {"one", "code.py", "two"}


def test_stages_write_two_files_that_git_keeps(project: Project) -> None:
    kept = {"reports/evaluation/metrics.json", "reports/validation/quality.json"}
    assert dvc.kept_in_git(project) == kept


@pytest.mark.parametrize("text", ["", "stages: [", "stages: {train: 3}", "stages: {a: {outs: 3}}"])
def test_a_broken_pipeline_writes_nothing_that_git_keeps(project: Project, text: str) -> None:
    (project.root / "dvc.yaml").write_text(text)
    assert dvc.kept_in_git(project) == set()


def test_what_is_stale_is_told_by_stage(checkout: Project) -> None:
    dvc.record_snapshot(checkout)
    assert {"validate", "preprocess", "train", "evaluate"} <= set(dvc.stale(checkout))


def test_a_broken_pipeline_file_is_named(checkout: Project) -> None:
    (checkout.root / "dvc.yaml").write_text("stages: [")
    with pytest.raises(UserError, match=r"dvc status failed"):
        dvc.stale(checkout)


def test_an_output_is_awaited_until_it_is_recorded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = project.root / "kept.json"
    arguments = (project, "reports/training/summary.json", kept)
    assert not dvc.awaits(*arguments), "not run by DVC"
    monkeypatch.setenv("DVC_STAGE", "train")
    assert not dvc.awaits(*arguments), "nothing is kept"
    kept.write_text("{}")
    assert dvc.awaits(*arguments)
    out = {"path": "reports/training/summary.json", "md5": "99914b932bd37a50b983c5e7c90ae93b"}
    lock = {"stages": {"train": {"outs": [out]}}}
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert not dvc.awaits(*arguments)
    kept.write_text('{"steps": 7}')
    assert dvc.awaits(*arguments)
