import shutil
import subprocess

import pytest
import yaml

from chromaflow import dvc, files
from chromaflow.errors import UserError


@pytest.fixture
def checkout(project):
    subprocess.run(["git", "init", "--quiet"], cwd=project.root, check=True)
    subprocess.run(dvc.command("init", "--quiet"), cwd=project.root, check=True)
    files.write_text(project.raw / "manifest.parquet", "one image")
    return project


def test_a_snapshot_is_recorded_once(checkout):
    assert dvc.snapshot_digest(checkout) == ""
    assert dvc.record_snapshot(checkout)
    digest = dvc.snapshot_digest(checkout)
    assert digest.endswith(".dir")
    assert not dvc.record_snapshot(checkout)
    files.write_text(checkout.raw / "manifest.parquet", "two images")
    assert dvc.record_snapshot(checkout)
    assert dvc.snapshot_digest(checkout) != digest


def test_equal_data_has_an_equal_digest_and_changes_no_record(checkout):
    dvc.record_snapshot(checkout)
    record = checkout.raw_record.read_bytes()
    shutil.rmtree(checkout.raw)
    files.write_text(checkout.raw / "manifest.parquet", "one image")
    assert not dvc.record_snapshot(checkout)
    assert checkout.raw_record.read_bytes() == record


def test_a_snapshot_made_anew_enters_the_cache(checkout):
    dvc.record_snapshot(checkout)
    record = checkout.raw_record.read_bytes()
    shutil.rmtree(checkout.root / ".dvc" / "cache")
    assert not dvc.record_snapshot(checkout)
    assert checkout.raw_record.read_bytes() == record
    shutil.rmtree(checkout.raw)
    assert dvc.fetch_snapshot(checkout)


def test_a_lost_snapshot_comes_back_from_the_cache_or_a_remote(checkout, tmp_path_factory):
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


def test_without_a_remote_nothing_is_fetched(checkout):
    dvc.record_snapshot(checkout)
    shutil.rmtree(checkout.raw)
    shutil.rmtree(checkout.root / ".dvc" / "cache")
    assert not dvc.fetch_snapshot(checkout)


def test_what_is_stale_is_told_by_stage(checkout):
    dvc.record_snapshot(checkout)
    assert {"validate", "preprocess", "train", "evaluate"} <= set(dvc.stale(checkout))


def test_a_broken_pipeline_file_is_named(checkout):
    (checkout.root / "dvc.yaml").write_text("stages: [")
    with pytest.raises(UserError, match=r"dvc status failed"):
        dvc.stale(checkout)


def test_an_output_is_awaited_until_it_is_recorded(project, monkeypatch):
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
