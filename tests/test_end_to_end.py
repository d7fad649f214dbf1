"""The main job in a temporary clone, at small scale: as the README's reader runs it."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from skimage import data

from chromaflow import dvc, settings
from chromaflow.files import digest_of_folder
from chromaflow.models import build_model
from chromaflow.models.folder import save_model
from chromaflow.project import Project
from chromaflow.settings import Model
from tests.colorize.video.clips import pan, write_clip

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "model.width=0.125",
    "preprocess.size=64",
    "source.tile=96",
    "training.batch=4",
    "training.crop=64",
    "training.steps=12",
    "training.validate_every=6",
    "evaluation.size=64",
    "evaluation.pictures=2",
    "promotion.resamples=200",
    "runtime.checkpoint_every=0s",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of the working tree as it is now, with the small settings."""
    root = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "clone"]):
        subprocess.run([*git, *arguments], cwd=root, check=True)
    return Project(root)


def chromaflow(project, *arguments, check=True):
    result = subprocess.run(
        [sys.executable, "-m", "chromaflow", *arguments],
        cwd=project.root,
        env=dvc.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def trained(clone):
    """The clone after its first retraining, and what that printed."""
    overrides = [f"--set={text}" for text in SMALL]
    return clone, chromaflow(clone, "retrain", "--preset=sample", *overrides).stdout


def test_one_command_does_the_whole_job(trained):
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


def test_everything_is_up_to_date_for_dvc(trained):
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


def test_a_second_run_trains_nothing_and_says_what_serves(trained):
    project, _ = trained
    before = (project.candidate / "weights.safetensors").stat().st_mtime_ns
    printed = chromaflow(project, "retrain").stdout
    assert "nothing to train" in printed
    assert (project.candidate / "weights.safetensors").stat().st_mtime_ns == before
    state = json.loads(chromaflow(project, "status", "--json").stdout)
    assert state["stale"] == {}
    assert state["unfinished"] == []


def test_two_flows_never_share_a_checkout(trained):
    project, _ = trained
    before = project.params.read_bytes()
    with project.alone("retrain"):
        refused = chromaflow(project, "retrain", "--set=seed=5", check=False)
    assert refused.returncode == 75
    assert "another retrain is at work" in refused.stderr
    assert project.params.read_bytes() == before


def _wait_for_checkpoint(project, process):
    deadline = time.monotonic() + 120
    while not list(project.checkpoints.glob("*/last.ckpt")):
        assert process.poll() is None, "the training ended before it wrote a checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _forget_record(project):
    """Let DVC not know a training, or it takes from its cache what an earlier one gave."""
    lock = project.root / "dvc.lock"
    content = yaml.safe_load(lock.read_text())
    del content["stages"]["train"]
    lock.write_text(yaml.safe_dump(content))


def test_a_killed_training_goes_on_to_the_same_weights_as_dvc_alone_makes(trained):
    project, _ = trained
    command = dvc.command("repro", "--quiet", "--force", "--single-item", "train")
    options = {"cwd": project.root, "env": dvc.environment()}
    expected = digest_of_folder(project.candidate)
    curves = (project.training_report / "curves.csv").read_bytes()
    killed = subprocess.Popen(command, **options, start_new_session=True)
    _wait_for_checkpoint(project, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (project.candidate / "weights.safetensors").exists()
    state = json.loads(chromaflow(project, "status", "--json").stdout)
    assert len(state["unfinished"]) == 1
    _forget_record(project)
    subprocess.run(dvc.command("repro", "--quiet", "--no-run-cache"), **options, check=True)
    assert json.loads(chromaflow(project, "status", "--json").stdout)["unfinished"] == []
    assert digest_of_folder(project.candidate) == expected
    assert (project.training_report / "curves.csv").read_bytes() == curves
    assert dvc.stale(project) == {}


def test_a_kill_before_the_record_of_a_training_costs_nothing(trained):
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


def test_the_registered_model_colors_a_photograph(trained):
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


def test_a_failed_step_ends_the_flow_with_its_sentence_and_exit_code(trained):
    project, _ = trained
    params = project.params.read_text()
    result = chromaflow(
        project, "retrain", "--preset=folder", "--set=source.folder=nowhere", check=False
    )
    project.params.write_text(params)
    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of grey and colored photographs, and the archive of a category."""
    folder = tmp_path_factory.mktemp("photographs")
    archive = folder.parent / "archive.zip"
    pictures = (data.astronaut(), data.coffee(), data.rocket(), data.cat(), data.retina())
    with zipfile.ZipFile(archive, "w") as target:
        for number, pixels in enumerate(pictures):
            for top, left in ((0, 0), (0, 128), (128, 0), (128, 128)):
                tile = Image.fromarray(pixels[top : top + 128, left : left + 128])
                path = folder / f"{number}-{top}-{left}.jpg"
                tile.save(path, quality=95)
                target.write(path, f"scenes/opencountry_{path.name}")
    return folder, archive


def _documented():
    """The commands of README and docs that work on this checkout alone, in their order.

    Others have tests of their own: `up` and `down` in tests/services, the sources of docs/data.md
    in tests/sources/test_presets.py, the mirror in tests/store, decisions about one image in
    tests/test_cli_quarantine.py.
    """
    skipped = {"up", "down", "ID", "runtime.mirror=s3://BUCKET/lab"}
    pages = {ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "data.md"}
    for page in sorted(pages):
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line)
                if words[:1] == ["chromaflow"] and not skipped.intersection(words):
                    yield tuple(words[1:])


# What makes a trial of a recipe short; `sanity` then says that it needs longer, with exit code 1.
TRIALS = {
    "sanity": ["--minutes=0.02", "--side=64"],
    "find-lr": ["--steps=12"],
    "sweep": ["--trials=1"],
    "compare": ["--budget=1s"],
}


@pytest.fixture(scope="module")
def examples(photographs, tmp_path_factory):
    """What stands in capitals in the documents, and an example of each."""
    folder, archive = photographs
    place = tmp_path_factory.mktemp("examples")
    hints = {"points": [{"x": 20, "y": 30, "color": "teal"}]}
    (place / "hints.json").write_text(json.dumps(hints))
    hinted = Model(network="zhang2017", codebook="regression", width=0.125)
    save_model(build_model(hinted, rebalance=0.5), place / "hinted")
    write_clip(place / "clip.mp4", pan(count=4))
    first = min(folder.iterdir())
    return {
        **{"PHOTOGRAPHS": folder, "ARCHIVE": archive, "PHOTOGRAPH": first, "PICTURE": first},
        **{"HINTS": place / "hints.json", "HINTED": place / "hinted", "CLIP": place / "clip.mp4"},
    }


def _with_small_settings(arguments):
    """The arguments of a command, and settings that make it a matter of seconds."""
    command, learning = arguments[0], [text for text in SMALL if text.startswith("training.")]
    if command in TRIALS:
        return [*arguments, *TRIALS[command], *(f"--set={text}" for text in learning)]
    if "--preset" in arguments:
        small = (*SMALL, "training.steps=2", "split.train=12", "split.validation=0.3")
        return [*arguments, *(f"--set={text}" for text in small)]
    if "--recipe" in arguments:
        return [*arguments, *(f"--set={text}" for text in (*learning, "training.steps=2"))]
    return arguments


def test_the_commands_of_the_documents_run(trained, examples):
    project, _ = trained
    in_capitals = re.compile(rf"\b({'|'.join(examples)})\b")
    for words in dict.fromkeys(_documented()):
        arguments = _with_small_settings(
            [in_capitals.sub(lambda found: str(examples[found[0]]), word) for word in words]
        )
        if words[0] in ("colorize", "export") and "--model" not in words:
            # Two steps of training beat no baseline, so nothing is promoted.
            arguments += ["--model", "models/candidate"]
        done = chromaflow(project, *arguments, check=words[0] != "sanity")
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
    assert len(list((project.root / "colorized").glob("*-color.jpg"))) == 20
    assert (project.root / "colorized" / "clip-color.mp4").is_file()
