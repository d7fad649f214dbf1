from collections.abc import Callable

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from chromaflow.errors import SettingsError, TrainingStoppedError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training.data.module import Batch
from chromaflow.training.fit import fingerprint, train
from chromaflow.training.module import ColorizerTraining
from chromaflow.training.trainer import explain_memory_errors

MakeLab = Callable[..., Project]

SPENT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    MemoryError(),
]


@pytest.mark.parametrize("error", SPENT, ids=["cuda", "linux", "windows", "python"])
def test_spent_memory_is_told_with_what_helps(error: Exception) -> None:
    values = {"training": {"batch": 24, "crop": 96}, "model": {"network": {"width": 2.0}}}
    settings = Settings.model_validate(values)
    with (
        pytest.raises(TrainingStoppedError, match="more memory") as caught,
        explain_memory_errors(settings),
    ):
        raise error
    for words in ("training.batch (24", "training.crop (96)", "model.network.width (2)"):
        assert words in caught.value.remedy
    assert "checkpoint is kept" in caught.value.problem


def test_truly_spent_memory() -> None:
    with pytest.raises(TrainingStoppedError, match="memory"), explain_memory_errors(Settings()):
        torch.empty(2**60, dtype=torch.uint8)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="size of tensor"), explain_memory_errors(Settings()):
        torch.zeros(2) + torch.zeros(3)


def test_one_value_for_batch_normalization_names_batch_and_crop() -> None:
    settings = Settings.model_validate({"training": {"batch": 1, "crop": 32}})
    layer = torch.nn.BatchNorm2d(4)
    with (
        pytest.raises(SettingsError, match=r"training.batch = 1 and training.crop = 32") as caught,
        explain_memory_errors(settings),
    ):
        layer(torch.zeros(1, 4, 1, 1))
    assert "raise" in caught.value.remedy


def test_other_values_refused_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="other"), explain_memory_errors(Settings()):
        raise ValueError("other")


def test_the_checkpoint_stays(
    make_lab: MakeLab, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_lab(validation=False)
    runtime = small.runtime.model_copy(update={"checkpoint_every": 0.0})
    often = small.model_copy(update={"runtime": runtime})
    step = ColorizerTraining.training_step

    def fail(self: ColorizerTraining, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        if self.global_step == 3:
            raise SPENT[1]
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ColorizerTraining, "training_step", fail)
        with pytest.raises(TrainingStoppedError, match="is available: can't allocate memory"):
            train(project, often)
    assert (project.checkpoints / fingerprint(project, often) / "last.ckpt").is_file()
    assert train(project, often)["resumed_from"] == 3


def test_spent_memory_of_the_backward_pass(make_lab: MakeLab, small: Settings) -> None:
    class Spend(Callback):
        def on_before_backward(self, *_: object) -> None:
            raise SPENT[0]

    with pytest.raises(TrainingStoppedError, match=r"allocate 2\.00 GiB\. The"):
        train(make_lab(validation=False), small, callbacks=[Spend()])
