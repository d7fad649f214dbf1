import multiprocessing
import runpy
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers.logger import DummyLogger
from torch import Tensor

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import TrainingStoppedError
from chromaflow.models import build_model
from chromaflow.models.colorizer import Colorizer
from chromaflow.models.networks.base import Outputs
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.settings.losses import AdversarialLoss, LossSettings
from chromaflow.training.adversary import Adversary
from chromaflow.training.checkpoints import AtomicCheckpoints
from chromaflow.training.fit import fingerprint, train
from chromaflow.training.losses import Step
from chromaflow.training.optimizers import rate_at
from tests.support.layers import gradient

MakeLab = Callable[..., Project]
KILLED = Path(__file__).parents[1] / "support" / "killed.py"


@pytest.fixture(scope="module")
def gan(small: Settings) -> Settings:
    """A U-Net and its discriminator, tiny, with a checkpoint before every step."""
    model = {
        "network": {"name": "unet", "width": 0.0625, "depth": 0.5},
        "codebook": "regression",
    }
    own = {
        "losses": losses(),
        "betas": [0.5, 0.999],
        "optimizer": "adam",
    }
    training = {**small.training.model_dump(), **own}
    runtime = {"checkpoint_every": "0s"}
    return Settings.model_validate({"model": model, "training": training, "runtime": runtime})


def losses(rate: float = 0.5) -> dict[str, Any]:
    own = {"weight": 1.0, "discriminator_width": 0.125, "discriminator_rate": rate}
    return {"adversarial": own, "l1": 100.0}


def change(settings: Settings, **training: object) -> Settings:
    return settings.model_copy(update={"training": settings.training.model_copy(update=training)})


def step_of(settings: Settings, seed: int = 0) -> Step:
    """What an untrained network makes of noise."""
    torch.manual_seed(seed)
    model = build_model(settings.model)
    lightness, ab = 100 * torch.rand(2, 1, 32, 32), 40 * torch.randn(2, 2, 32, 32)
    return Step(model, model.network.outputs(lightness), lightness, ab)


def adversary_of(settings: Settings) -> Adversary:
    torch.manual_seed(1)
    own = settings.training.losses.adversarial
    assert own is not None
    return Adversary(own, settings.training)


def test_its_steps_are_those_of_adam(gan: Settings) -> None:
    step, own, other = step_of(gan), adversary_of(gan), adversary_of(gan)
    training = gan.training
    optimizer = torch.optim.Adam(other.discriminator.parameters(), betas=(0.5, 0.999))
    for number in range(3):
        loss = own.learn(step, number, 0)
        other.discriminator.requires_grad_()
        real = other.discriminator(step.lightness, step.true_ab).double().sigmoid()
        fake = other.discriminator(step.lightness, step.full_ab.detach()).double().sigmoid()
        labelled = 0.9 * real.log() + 0.1 * (1 - real).log()
        expected = -0.5 * (labelled.mean() + (1 - fake).log().mean())
        assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-5)
        optimizer.zero_grad()
        expected.backward()
        pairs = zip(own.discriminator.parameters(), other.discriminator.parameters(), strict=True)
        for learned, reference in pairs:
            assert learned.grad is not None
            assert reference.grad is not None
            torch.testing.assert_close(learned.grad, reference.grad, rtol=1e-4, atol=1e-6)
            # Adam's first steps depend on little but the sign, which rounding decides near zero.
            reference.grad.copy_(learned.grad)
        rate = 0.5 * training.learning_rate * rate_at(number, training)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    states = own.state_dict(), other.state_dict()
    for name in states[0]:
        torch.testing.assert_close(states[0][name], states[1][name])


def test_only_one_of_the_two_learns_at_a_time(gan: Settings) -> None:
    step, adversary = step_of(gan), adversary_of(gan)
    adversary.learn(step, 0, 0)
    assert all(p.grad is None for p in step.model.network.parameters())
    assert not any(p.requires_grad for p in adversary.parameters())
    before = [p.grad.clone() for p in adversary.parameters() if p.grad is not None]
    loss = adversary(step)
    judged = adversary.discriminator(step.lightness, step.full_ab).sigmoid().log().mean()
    assert float(loss.detach()) == pytest.approx(-float(judged.detach()), rel=1e-5)
    loss.backward()
    assert all(p.grad is not None for p in step.model.network.parameters())
    after = [gradient(p) for p in adversary.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_it_learns_to_tell_and_the_network_to_deceive(gan: Settings) -> None:
    fast = change(gan, learning_rate=1e-2, schedule="constant", warmup=0.0)
    step, adversary = step_of(fast), adversary_of(fast)
    losses = [float(adversary.learn(step, number, 0)) for number in range(30)]
    # The least that 0.9 for true color allows is 0.163.
    assert losses[0] > 0.6 and 0.162 < losses[-1] < 0.3
    ab = step.full_ab.detach().requires_grad_()
    told = [adversary.discriminator(step.lightness, x).mean() for x in (step.true_ab, ab)]
    assert told[0] > 1 > -1 > told[1]
    judged = Step(step.model, Outputs(ab / 128, None, {}), step.lightness, step.true_ab)
    assert float(adversary(judged).detach()) > 1


def test_parts_of_a_batch_make_one_step(gan: Settings) -> None:
    step, parts = step_of(gan), adversary_of(change(gan, accumulate=2))
    before = [p.clone() for p in parts.parameters()]
    parts.learn(step, 0, 0)
    assert all(torch.equal(*pair) for pair in zip(before, parts.parameters(), strict=True))
    first = [p.grad.clone() for p in parts.parameters() if p.grad is not None]
    parts.learn(step, 0, 1)
    for parameter, once in zip(parts.parameters(), first, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * once)
    assert parts.optimizer.state_dict()["state"][0]["step"] == 1


def test_ranks_step_with_the_mean_of_their_gradients(
    gan: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, alone, shared = step_of(gan), adversary_of(gan), adversary_of(gan)
    alone.learn(step, 0, 0)
    # Of two ranks with the same batch.
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda gradient: gradient.mul_(2))
    shared.learn(step, 0, 0)
    pairs = zip(alone.parameters(), shared.parameters(), strict=True)
    assert all(
        torch.equal(one, other) and torch.equal(gradient(one), gradient(other))
        for one, other in pairs
    )


def test_full_precision_under_autocast(gan: Settings) -> None:
    step, adversary, other = step_of(gan), adversary_of(gan), adversary_of(gan)
    plain = adversary.learn(step, 0, 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(other.learn(step, 0, 0), plain)


def test_true_color_is_shown_as_small_as_the_network_gives_it(gan: Settings) -> None:
    class Quarter(torch.nn.Module):
        stride = multiple = 4

    adversary, seen = adversary_of(gan), list[Tensor]()
    adversary.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    model = Colorizer(Quarter(), build_codebook("regression"))  # type: ignore[arg-type]
    lightness, ab = torch.rand(2, 1, 32, 32), 40 * torch.randn(2, 2, 32, 32)
    logits = model.codebook.ideal_logits(torch.nn.functional.avg_pool2d(ab, 4))
    adversary.learn(Step(model, Outputs(logits, None, {}), lightness, ab), 0, 0)
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-3)


class FailureError(Exception):
    """Of the test's own."""


class At(Callback):
    def __init__(self, step: int) -> None:
        self.step = step
        self.module: Any = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.module = pl_module
        if trainer.global_step == self.step:
            raise FailureError


class Recorder(DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[dict[str, float]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.metrics.append({**metrics, "step": step or 0})


def outputs(project: Project) -> str:
    return files.digest_of_folder(project.candidate) + files.digest_of_folder(
        project.training_report
    )


def bits(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def straight(
    make_lab_in: Callable[..., Project], gan: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Tensor], list[dict[str, float]]]:
    """What an undisturbed training writes, its last state, and what its logger got."""
    project = make_lab_in(tmp_path_factory.mktemp("straight"))
    watch, logger = At(-1), Recorder()
    summary = train(project, gan, loggers=[logger], callbacks=[watch])
    assert summary["steps"] == 6
    return outputs(project), bits(watch.module), logger.metrics


def test_each_part_of_the_loss_is_logged(
    straight: tuple[str, dict[str, Tensor], list[dict[str, float]]],
) -> None:
    _, state, rows = straight
    assert rows[0].keys() == {
        *("validation_loss", "validation_ab_error"),
        *("validation_colorfulness", "step"),
    }
    row = rows[1]
    assert row.keys() == {
        *("train_loss", "train_l1", "train_adversarial", "train_discriminator"),
        *("learning_rate", "images_per_second", "step"),
    }
    total = 100 * row["train_l1"] + row["train_adversarial"]
    assert row["train_loss"] == pytest.approx(total, rel=1e-5)
    # Validation measures the fit alone.
    assert rows[2]["validation_loss"] < 100
    assert any(name.startswith("losses.adversary.discriminator.") for name in state)


def test_a_training_that_failed_goes_on_with_both(
    make_lab: MakeLab,
    gan: Settings,
    straight: tuple[str, dict[str, Tensor], list[dict[str, float]]],
) -> None:
    project = make_lab()
    with pytest.raises(FailureError):
        train(project, gan, callbacks=[At(4)])
    path = project.checkpoints / fingerprint(project, gan) / "last.ckpt"
    kept = AtomicCheckpoints().load_checkpoint(path)
    assert {float(state["step"]) for state in kept["adversary"]["state"].values()} == {3.0}
    watch = At(-1)
    assert train(project, gan, callbacks=[watch])["resumed_from"] == 3
    assert outputs(project) == straight[0]
    state = bits(watch.module)
    assert state.keys() == straight[1].keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in straight[1].items())


def test_a_killed_training_ends_with_the_same_bits(
    make_lab: MakeLab,
    gan: Settings,
    straight: tuple[str, dict[str, Tensor], list[dict[str, float]]],
) -> None:
    project = make_lab()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chromaflow.training.fit"])
    told = {"root": str(project.root), "settings": gan, "moment": "2"}
    process = context.Process(target=runpy.run_path, args=(str(KILLED), told), daemon=True)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert train(project, gan)["resumed_from"] == 1
    assert outputs(project) == straight[0]


def test_the_model_is_the_network_alone(make_lab: MakeLab, gan: Settings) -> None:
    project = make_lab(validation=False)
    train(project, change(gan, steps=2, accumulate=2))
    names = safetensors.torch.load_file(project.candidate / "weights.safetensors")
    assert names and all(name.startswith(("network.", "codebook.")) for name in names)


def test_a_discriminator_that_is_no_number_is_told(make_lab: MakeLab, gan: Settings) -> None:
    wild = change(gan, losses=LossSettings.model_validate(losses(1e38)), warmup=0.0)
    with pytest.raises(TrainingStoppedError, match="step 1 adversarial is nan") as caught:
        train(make_lab(), wild)
    assert "train-" in caught.value.problem
    assert "training.losses.adversarial.discriminator_rate (1e+38)" in caught.value.remedy


def test_a_width_out_of_range_is_told_by_name() -> None:
    with pytest.raises(ValueError, match="discriminator_width"):
        AdversarialLoss(weight=1.0, discriminator_width=9.0)
