import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers.logger import DummyLogger

import chromaflow
from chromaflow.errors import DataError, SettingsError, TrainingStoppedError
from chromaflow.models.model_folder import load_model, model_digest
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training import fit
from chromaflow.training.callbacks.pictures import Pictures
from chromaflow.training.fit import fingerprint, train
from tests.support.disturbed import change, outputs

MakeLab = Callable[..., Project]
DDP = Path(__file__).parents[1] / "support" / "ddp.py"


@pytest.fixture
def project(make_lab: MakeLab) -> Project:
    return make_lab()


def test_writes_a_model_and_its_curves(project: Project, small: Settings) -> None:
    summary = train(project, small)
    assert load_model(project.candidate).config()["network"]["width"] == 0.0625
    assert summary["digest"] == model_digest(project.candidate)
    assert (summary["steps"], summary["crops"], summary["resumed_from"]) == (6, 12, 0)
    assert summary["images"] == {"train": 12, "validation": 4}
    written = json.loads((project.training_report / "summary.json").read_text())
    assert written.items() <= summary.items()
    lines = (project.training_report / "curves.csv").read_text().splitlines()
    assert lines[0].split(",")[:4] == ["step", "train_loss", "learning_rate", "validation_loss"]
    assert [line.split(",")[0] for line in lines[1:]] == ["3", "6"]
    assert not list(project.checkpoints.glob("*/last.ckpt"))


def test_the_same_settings_give_the_same_bytes(
    project: Project, small: Settings, straight: str
) -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    train(project, change(small))
    assert outputs(project) == straight
    train(project, small.model_copy(update={"seed": 1}))
    assert outputs(project) != straight


def test_leaves_torch_as_it_was(project: Project, small: Settings) -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    state = torch.get_rng_state()
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(project, change(small, threads=2, steps=1))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_a_loss_that_is_no_number_stops(project: Project, small: Settings) -> None:
    with pytest.raises(TrainingStoppedError) as raised:
        train(project, change(small, learning_rate=1e30, clip=1e30, warmup=0.0))
    assert "step " in raised.value.problem
    assert "train-" in raised.value.problem
    assert "training.learning_rate" in raised.value.remedy
    assert not project.candidate.exists()


def test_without_a_validation_split(make_lab: MakeLab, small: Settings) -> None:
    project = make_lab(validation=False)
    summary = train(project, change(small, patience=1))
    assert summary["validation_loss"] is None
    assert summary["images"] == {"train": 12, "validation": 0}


def test_patience_ends_early(project: Project, small: Settings) -> None:
    # At such a rate the second step is worse than the first.
    patient = change(small, patience=1, validate_every=1, learning_rate=0.3, ema=0.0)
    summary = train(project, patient)
    assert summary["stopped_early"]
    assert summary["steps"] == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_accumulation_and_workers(make_lab: MakeLab, small: Settings, workers: int) -> None:
    project = make_lab(validation=False)
    once = change(small, batch=2, accumulate=2, steps=2, validate_every=1)
    values = once.runtime.model_copy(update={"workers": workers})
    summary = train(project, once.model_copy(update={"runtime": values}))
    assert (summary["steps"], summary["crops"]) == (2, 8)
    if workers:
        other = outputs(project)
        train(project, once)
        assert outputs(project) == other


def test_mixed_precision_trains(project: Project, small: Settings) -> None:
    summary = train(project, change(small, precision="bf16-mixed"))
    assert 3 < summary["train_loss"] < 7
    weight = load_model(project.candidate).network.get_parameter("head.weight")
    assert weight.dtype == torch.float32


def test_a_frozen_encoder_stays_published(project: Project, small: Settings) -> None:
    train(project, change(small, backbone_rate=0.0))
    trained = load_model(project.candidate).network.backbone.stem[0].weight
    train(project, small.model_copy(update={"seed": 5}))
    assert not torch.equal(load_model(project.candidate).network.backbone.stem[0].weight, trained)
    train(project, change(small, backbone_rate=0.0, learning_rate=0.1))
    assert torch.equal(load_model(project.candidate).network.backbone.stem[0].weight, trained)


class Recorder(DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.metrics.append((step, dict(metrics)))


def test_loggers_and_pictures(project: Project, small: Settings, straight: str) -> None:
    logger, shown = Recorder(), []
    pictures = Pictures(lambda *args: shown.append(args), every=4, count=3)
    train(project, small, loggers=[logger], callbacks=[pictures])
    assert [step for step, _ in logger.metrics] == [3, 6, 6]
    assert {"train_loss", "learning_rate", "images_per_second"} == logger.metrics[1][1].keys()
    assert [step for step, *_ in shown] == [4, 6]
    _, lightness, predicted, true = shown[-1]
    assert lightness.shape == (3, 1, 64, 64)
    assert predicted.shape == true.shape == (3, 2, 64, 64)
    assert torch.equal(shown[0][3], true)
    assert not torch.equal(shown[0][2], predicted)
    assert outputs(project) == straight, "what is recorded of a training changes nothing in it"


def test_it_learns(make_lab: MakeLab, small: Settings) -> None:
    project = make_lab(validation=False)
    train(
        project,
        small.model_copy(
            update={"training": change(small, steps=40, learning_rate=3e-3, crop=64).training}
        ),
    )
    curves = np.genfromtxt(project.training_report / "curves.csv", delimiter=",", names=True)
    assert curves["train_loss"][-1] < 0.9 * curves["train_loss"][0]


def test_two_processes_share_the_crops(project: Project, small: Settings) -> None:
    chosen = {
        "model": small.model.model_dump(),
        "training": change(small, devices=2, steps=2).training.model_dump(),
    }
    command = [sys.executable, str(DDP), str(project.root), json.dumps(chosen)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    summary = json.loads(lines[-1])
    assert len(lines) == 1, "only rank zero goes on"
    assert (summary["steps"], summary["crops"]) == (2, 8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop": 48}, "multiple of 32"),
        ({"crop": 96}, "shorter side of 64"),
    ],
)
def test_settings_that_cannot_be(
    project: Project, small: Settings, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        train(project, change(small, **changes))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(project: Project, small: Settings) -> None:
    with pytest.raises(SettingsError, match="no GPU"):
        train(project, change(small, accelerator="gpu"))


def test_a_known_fingerprint_is_not_computed_again(
    project: Project, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = fingerprint(project, small)
    monkeypatch.setattr(fit, "fingerprint", lambda *_: pytest.fail("it was computed again"))
    assert train(project, small, known_fingerprint=known)["fingerprint"] == known


@pytest.mark.parametrize("name", ["train/index.json", "ab_histogram.npy"])
def test_missing_data_is_told(project: Project, small: Settings, name: str) -> None:
    (project.lab / name).unlink()
    with pytest.raises(DataError, match="chromaflow preprocess"):
        train(project, small)


def test_fingerprint_knows_what_decides(project: Project, small: Settings) -> None:
    expected = fingerprint(project, small)
    assert fingerprint(project, change(small)) == expected
    assert fingerprint(project, change(small, steps=7)) != expected
    assert fingerprint(project, small.model_copy(update={"seed": 3})) != expected
    with (project.lab / "train" / "index.json").open("a") as file:
        file.write(" ")
    assert fingerprint(project, small) != expected


@pytest.mark.parametrize(
    ("name", "decides"),
    [
        ("project/files.py", True),
        ("color/saturation.py", True),
        ("models/networks/parts/blocks.py", True),
        ("data/store/read.py", True),
        ("training/losses/bins.py", True),
        ("metrics/cdc.py", False),
        ("data/store/write.py", False),
        ("tracking/client.py", False),
    ],
)
def test_fingerprint_knows_the_code_that_decides(
    project: Project,
    small: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    decides: bool,
) -> None:
    package = tmp_path / "chromaflow"
    shutil.copytree(Path(chromaflow.__file__).parent, package)
    monkeypatch.setattr(chromaflow, "__file__", str(package / "__init__.py"))
    before = fingerprint(project, small)
    assert (package / name).is_file()
    with (package / name).open("a") as file:
        file.write("# changed\n")
    assert (fingerprint(project, small) != before) == decides


def test_trains_outside_of_the_main_thread(project: Project, small: Settings) -> None:
    # Where no signal can be caught.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(train, project, small).result()["steps"] == 6
