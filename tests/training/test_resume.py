"""A training that failed, was told to stop or was killed goes on, and ends with the same bytes."""

import errno
import multiprocessing
import os
import runpy
import shutil
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch

from chromaflow.errors import ChromaflowWarning, TrainingInterruptedError, UserError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training import result_cache
from chromaflow.training.fit import fingerprint, train
from tests.support.disturbed import At, FailureError, change, fail, outputs, send

MakeLab = Callable[..., Project]
KILLED = Path(__file__).parents[1] / "support" / "killed.py"


@pytest.fixture
def project(make_lab: MakeLab) -> Project:
    return make_lab()


def test_what_ended_is_kept_until_it_is_forgotten(
    project: Project, small: Settings, straight: str
) -> None:
    first = train(project, small)
    shutil.rmtree(project.candidate)
    (project.training_report / "summary.json").unlink()
    again = train(project, small, callbacks=[At(1, fail)])
    assert again == {**first, "resumed_from": first["steps"]}
    assert outputs(project) == straight
    mark = fingerprint(project, small)
    kept = (
        result_cache.summary_file(project, mark).parent.parent / "candidate" / "weights.safetensors"
    )
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    with pytest.raises(FailureError):
        train(project, small, callbacks=[At(1, fail)])
    train(project, small)
    result_cache.forget(project, mark)
    with pytest.raises(FailureError):
        train(project, small, callbacks=[At(1, fail)])


@pytest.mark.parametrize("step", [1, 3, 5])
def test_goes_on_from_a_failure(
    project: Project, small: Settings, straight: str, step: int
) -> None:
    often = change(small)
    with pytest.raises(FailureError):
        train(project, often, callbacks=[At(step, fail)])
    summary = train(project, often)
    assert summary["resumed_from"] == step - 1
    assert outputs(project) == straight


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_a_checkpoint(
    project: Project, small: Settings, straight: str, number: signal.Signals
) -> None:
    with pytest.raises(TrainingInterruptedError, match=rf"{number.name}.*step 3 of 6") as raised:
        train(project, small, callbacks=[At(3, send(number))])
    assert "again" in raised.value.remedy
    summary = train(project, small)
    assert summary["resumed_from"] in {0, 3}
    assert outputs(project) == straight


def test_a_signal_outside_of_validation_loses_nothing(project: Project, small: Settings) -> None:
    with pytest.raises(TrainingInterruptedError, match="checkpoint of step 2 is kept"):
        train(project, small, callbacks=[At(2, send(signal.SIGTERM))])
    assert train(project, small)["resumed_from"] == 2


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    """Starts processes quickly: torch is imported once, before any thread runs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chromaflow.training.fit"])
    return context


@pytest.mark.parametrize("moment", ["2", "-3", "write", "outputs"])
def test_goes_on_from_a_kill(
    server: ForkServerContext, make_lab: MakeLab, small: Settings, straight: str, moment: str
) -> None:
    project = make_lab()
    often = change(small)
    told = {"root": str(project.root), "settings": often, "moment": moment}
    process = server.Process(target=runpy.run_path, args=(str(KILLED), told), daemon=True)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    kept = {"2": 1, "-3": 2, "write": 1, "outputs": 5}[moment]
    assert train(project, often)["resumed_from"] == kept
    assert outputs(project) == straight


def test_a_broken_checkpoint_is_warned_of(project: Project, small: Settings, straight: str) -> None:
    often = change(small)
    with pytest.raises(FailureError):
        train(project, often, callbacks=[At(4, fail)])
    path = project.checkpoints / fingerprint(project, often) / "last.ckpt"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.warns(ChromaflowWarning, match="starts over"):
        summary = train(project, often)
    assert summary["resumed_from"] == 0
    assert outputs(project) == straight


def test_a_checkpoint_runs_no_code(project: Project, small: Settings, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return (Path.touch, (tmp_path / "ran",))

    path = project.checkpoints / fingerprint(project, small) / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": Hostile()}, path)
    with pytest.warns(ChromaflowWarning, match="starts over"):
        train(project, small)
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_keeps_the_checkpoint(
    project: Project, small: Settings, straight: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    often, fsync = change(small), os.fsync
    calls = iter(range(100))

    def full(file: int) -> None:
        # Two a checkpoint: of the file and of its folder.
        if next(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    with monkeypatch.context() as patch, pytest.raises(UserError, match="disk is full") as raised:
        patch.setattr(os, "fsync", full)
        train(project, often)
    assert not isinstance(raised.value, TrainingInterruptedError)
    path = project.checkpoints / fingerprint(project, often) / "last.ckpt"
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    assert train(project, often)["resumed_from"] == 1
    assert outputs(project) == straight
