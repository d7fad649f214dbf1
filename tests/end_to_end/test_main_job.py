"""The main job in a temporary clone, at small scale: as the README's reader runs it."""

import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from skimage import data

from chromaflow import settings
from chromaflow.project import dvc
from chromaflow.project.files import digest_of_folder, sha256_of
from chromaflow.project.paths import Project
from chromaflow.provenance.code_facts import code_digest, git_commit
from chromaflow.provenance.data_facts import data_facts
from chromaflow.provenance.facts import FlowFacts, LockFacts
from chromaflow.tracking.client import connect
from chromaflow.tracking.registry.registry import Registry
from tests.support.clone import chromaflow

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(7200)]


def test_one_command_does_the_whole_job(trained: tuple[Project, str]) -> None:
    project, printed = trained
    assert "params.yaml: training.steps" in printed
    assert str(project.page) in printed
    assert settings.load(project).training.steps == 12
    validation = json.loads((project.validated / "validation.json").read_text())
    assert validation["accepted"] + validation["quarantined"] == validation["rows"]
    metrics = json.loads((project.evaluation / "metrics.json").read_text())
    assert {"model", "grey", "mean_color"} <= set(metrics)
    assert metrics["digest"] == digest_of_folder(project.candidate)
    page = project.page.read_text()
    assert metrics["digest"][:12] in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert not list(project.root.rglob("*.pkl"))


def test_the_version_names_the_flow_run_that_trained_it(trained: tuple[Project, str]) -> None:
    project, _ = trained
    values = settings.load(project)
    version = Registry(project, values).version_of(digest_of_folder(project.candidate))
    assert version is not None
    with contextlib.closing(sqlite3.connect(project.state / "prefect" / "prefect.db")) as database:
        ((flow_run,),) = database.execute("SELECT id FROM flow_run")
    # The temporary server of the flow ended with it, and so did its pages.
    flow = FlowFacts(flow_run, "none: the server ended with the flow run")
    assert version.facts.run.flow == flow
    run = connect(project, values).get_run(version.run_id)
    assert run.data.params["training.steps"] == "12"
    assert FlowFacts.from_tags(run.data.tags) == flow
    assert f"<code>{flow_run}</code>" in project.page.read_text()


def test_each_training_records_its_own_code_data_and_lock(
    trained: tuple[Project, str], tmp_path: Path
) -> None:
    project, _ = trained
    values, locks = settings.load(project), []
    client = connect(project, values)
    for seed in (values.seed, values.seed + 1):
        if seed != values.seed:
            chromaflow(project, "retrain", f"--set=seed={seed}")
        version = Registry(project, values).version_of(digest_of_folder(project.candidate))
        assert version is not None
        facts = version.facts.run
        assert facts.seed == str(seed)
        assert facts.code.dirty == "false", facts.code.changed_files
        assert facts.code.digest == code_digest(project.root / "src" / "chromaflow")
        assert facts.code.known_commit == git_commit(project)
        assert facts.data == data_facts(project)
        assert facts.lock.files["models/candidate"] == dvc.folder_md5(project.candidate)
        assert facts.lock.files["data/raw"] == facts.data.raw_md5
        kept = client.download_artifacts(version.run_id, "lineage/dvc.lock.txt", str(tmp_path))
        assert sha256_of(Path(kept)) == facts.lock.digest
        locks.append(facts.lock)
    assert locks[0].files["models/candidate"] != locks[1].files["models/candidate"]
    assert locks[0].files["data/lab"] == locks[1].files["data/lab"]


def test_everything_is_up_to_date_for_dvc(trained: tuple[Project, str]) -> None:
    project, _ = trained
    assert dvc.stale(project) == {}
    shown = subprocess.run(
        dvc.command("metrics", "show", "--json"),
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "auc_rebalanced" in shown.stdout


def test_a_second_run_trains_nothing_and_says_what_serves(trained: tuple[Project, str]) -> None:
    project, _ = trained
    before = (project.candidate / "weights.safetensors").stat().st_mtime_ns
    printed = chromaflow(project, "retrain").stdout
    assert "nothing to train" in printed
    assert (project.candidate / "weights.safetensors").stat().st_mtime_ns == before
    state = json.loads(chromaflow(project, "status", "--json").stdout)
    assert state["stale"] == {}
    assert state["unfinished"] == []


def test_two_flows_never_share_a_checkout(trained: tuple[Project, str]) -> None:
    project, _ = trained
    before = project.params.read_bytes()
    with project.lock("retrain"):
        refused = chromaflow(project, "retrain", "--set=seed=5", check=False)
    assert refused.returncode == 75
    assert "another retrain is running" in refused.stderr
    assert project.params.read_bytes() == before


# Ends DVC and the training below it as the second checkpoint is about to take its name.
KILL = """
import os, signal, sys
names = []
def kill(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("last.ckpt"):
        names.append(arguments[1])
        if len(names) == 2:
            os.killpg(0, signal.SIGKILL)
sys.addaudithook(kill)
"""


def _forget_record(project: Project) -> None:
    """Let DVC not know a training, or it takes from its cache what an earlier one gave."""
    lock = project.root / "dvc.lock"
    content = yaml.safe_load(lock.read_text())
    del content["stages"]["train"]
    lock.write_text(yaml.safe_dump(content))


def test_a_killed_training_goes_on_to_the_same_weights_as_dvc_alone_makes(
    trained: tuple[Project, str], tmp_path: Path
) -> None:
    project, _ = trained
    command = dvc.command("repro", "--quiet", "--force", "--single-item", "train")
    # Python imports it before anything else.
    (tmp_path / "sitecustomize.py").write_text(KILL)
    fatal = {**dvc.environment(), "PYTHONPATH": str(tmp_path)}
    expected = digest_of_folder(project.candidate)
    curves = (project.training_report / "curves.csv").read_bytes()
    killed = subprocess.run(
        command, cwd=project.root, env=fatal, start_new_session=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert list(project.checkpoints.glob("*/last.ckpt"))
    assert not (project.candidate / "weights.safetensors").exists()
    state = json.loads(chromaflow(project, "status", "--json").stdout)
    assert len(state["unfinished"]) == 1
    _forget_record(project)
    command = dvc.command("repro", "--quiet", "--no-run-cache")
    subprocess.run(command, cwd=project.root, env=dvc.environment(), check=True)
    assert json.loads(chromaflow(project, "status", "--json").stdout)["unfinished"] == []
    assert digest_of_folder(project.candidate) == expected
    assert (project.training_report / "curves.csv").read_bytes() == curves
    assert dvc.stale(project) == {}


def test_a_kill_before_the_record_of_a_training_costs_nothing(trained: tuple[Project, str]) -> None:
    project, _ = trained
    expected = digest_of_folder(project.candidate)
    (kept,) = project.checkpoints.glob("*/finished")
    before = kept.stat().st_mtime_ns
    _forget_record(project)
    shutil.rmtree(project.candidate)
    command = dvc.command("repro", "--quiet", "--single-item", "--no-run-cache", "train")
    subprocess.run(command, cwd=project.root, env=dvc.environment(), check=True)
    assert digest_of_folder(project.candidate) == expected
    assert kept.stat().st_mtime_ns == before, "it trained again"


def test_the_registered_model_colors_a_photograph(trained: tuple[Project, str]) -> None:
    project, _ = trained
    photograph = project.root / "cat.png"
    Image.fromarray(data.cat()).convert("L").save(photograph)
    broken = project.root / "broken.png"
    broken.write_bytes(photograph.read_bytes()[:2000])
    result = chromaflow(
        project,
        *("colorize", "cat.png", "broken.png", "--model", "models/candidate", "-o", "out"),
        check=False,
    )
    assert result.returncode == 1
    assert "broken.png" in result.stderr
    with Image.open(project.root / "out" / "cat-color.png") as colored:
        pixels = np.asarray(colored)
    assert pixels.shape == data.cat().shape


def test_a_failed_step_ends_the_flow_with_its_sentence_and_exit_code(
    trained: tuple[Project, str],
) -> None:
    project, _ = trained
    params = project.params.read_text()
    result = chromaflow(
        project, "retrain", "--preset=folder", "--set=source.folder=nowhere", check=False
    )
    project.params.write_text(params)
    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_training_without_dvc_says_so(trained: tuple[Project, str]) -> None:
    project, _ = trained
    for command in (["train", "--set=seed=19"], ["evaluate"], ["register"]):
        chromaflow(project, *command)
    values = settings.load(project)
    version = Registry(project, values).version_of(digest_of_folder(project.candidate))
    assert version is not None
    facts = version.facts.run
    assert facts.lock == LockFacts("none: no entry of dvc.lock matches these weights")
    assert facts.flow == FlowFacts()
    assert facts.seed == "19"
    page = Path(json.loads(chromaflow(project, "report", "--json").stdout)["page"]).read_text()
    assert "none: no entry of dvc.lock matches these weights" in page
    assert "none: no flow run started the training" in page
