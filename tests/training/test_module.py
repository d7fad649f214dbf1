import math
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from chromaflow.models import build_model
from chromaflow.project.paths import Project
from chromaflow.settings import Model, Settings, Training
from chromaflow.training.data.module import Batch
from chromaflow.training.fit import train
from chromaflow.training.module import ColorizerTraining
from tests.support.layers import layer

MakeLab = Callable[..., Project]


def make(*, pretrained: bool = True, **training: object) -> ColorizerTraining:
    torch.manual_seed(0)
    weights = "published" if pretrained else "none"
    model = build_model(Model.model_validate({"network": {"width": 0.0625, "weights": weights}}))
    return ColorizerTraining(model, Training.model_validate(training), pretrained=pretrained)


def groups_of(module: ColorizerTraining) -> list[dict[str, Any]]:
    return module.configure_optimizers()["optimizer"].param_groups  # type: ignore[typeddict-item]


def test_the_backbone_learns_at_its_own_rate() -> None:
    module = make(learning_rate=0.1, backbone_rate=0.25, warmup=0.0)
    groups = groups_of(module)
    assert [group["lr"] for group in groups] == [0.1, 0.025]
    backbone = {id(p) for p in module.model.network.backbone.parameters()}
    assert {id(p) for p in groups[1]["params"]} == backbone
    trained = [p for group in groups for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in module.model.parameters()}


def test_a_frozen_backbone_is_not_in_the_optimizer() -> None:
    module = make(backbone_rate=0.0)
    groups = groups_of(module)
    assert len(groups) == 1
    backbone = list(module.model.network.backbone.parameters())
    assert not {id(p) for p in groups[0]["params"]} & {id(p) for p in backbone}
    assert not any(p.requires_grad for p in backbone)


def test_a_backbone_without_published_weights_is_like_the_rest() -> None:
    module = make(pretrained=False, backbone_rate=0.0, unfreeze=0.5)
    groups = groups_of(module)
    assert len(groups) == 1
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in module.model.parameters()}


def test_averaged_weights_follow_the_definition() -> None:
    module = make(ema=0.5)
    bias = module.model.network.get_parameter("head.bias")
    normal = layer(module.model.network, "up.0.0.1", nn.BatchNorm2d)
    assert normal.running_mean is not None
    assert normal.num_batches_tracked is not None
    expected: float | None = None
    for count in range(6):
        with torch.no_grad():
            bias.fill_(float(count))
            normal.running_mean.fill_(float(count))
            normal.num_batches_tracked.fill_(count)
        module._average.update_parameters(module.model.network)
        decay = min(0.5, (1 + count) / (10 + count))
        expected = count if expected is None else decay * expected + (1 - decay) * count
    averaged = module.averaged.network.get_parameter("head.bias")
    normal = layer(module.averaged.network, "up.0.0.1", nn.BatchNorm2d)
    assert averaged[0].item() == pytest.approx(expected)
    assert normal.running_mean is not None
    assert normal.running_mean[0].item() == pytest.approx(expected)
    assert normal.num_batches_tracked == 5
    assert not averaged.requires_grad
    assert module.averaged.codebook is module.model.codebook
    assert not module.averaged.training
    assert module.model.training


def test_without_averaging_the_last_weights_stand() -> None:
    module = make(ema=0.0)
    for value in (1.0, 2.0, 5.0):
        nn.init.constant_(module.model.network.get_parameter("head.bias"), value)
        module._average.update_parameters(module.model.network)
    last, averaged = module.model.network.state_dict(), module.averaged.network.state_dict()
    assert (averaged["head.bias"] == 5).all()
    assert last.keys() == averaged.keys()
    assert all(torch.equal(tensor, averaged[name]) for name, tensor in last.items())


class Watch(Callback):
    """Keeps the state of the backbone before each step, and how gradients are clipped."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.clip: float | None = -1.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *_: object
    ) -> None:
        assert isinstance(pl_module, ColorizerTraining)
        state = pl_module.model.network.backbone.state_dict()
        self.states.append({name: tensor.clone() for name, tensor in state.items()})
        self.clip = trainer.gradient_clip_val


@pytest.fixture(scope="module")
def normalized(small: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A training with a tiny backbone that normalizes, and has weights to begin with."""
    torch.manual_seed(0)
    name, file = "test_efficientnet", tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    safetensors.torch.save_file(timm.create_model(name).state_dict(), file)
    model = Model.model_validate(
        {"network": {"width": 0.0625, "backbone": name, "weights": str(file)}}
    )
    return small.model_copy(update={"model": model})


def change(settings: Settings, **training: object) -> Settings:
    return settings.model_copy(update={"training": settings.training.model_copy(update=training)})


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_backbone_at_rest_stays_bit_for_bit(
    make_lab: MakeLab, normalized: Settings, optimizer: str
) -> None:
    watch = Watch()
    later = change(normalized, unfreeze=0.5, optimizer=optimizer, warmup=0.0)
    train(make_lab(validation=False), later, callbacks=[watch])
    assert "body.bn1.running_mean" in watch.states[0]
    assert [same(watch.states[0], state) for state in watch.states] == [True] * 4 + [False] * 2
    first, learned = watch.states[0], watch.states[-1]
    moved = {name for name in first if not torch.equal(first[name], learned[name])}
    assert any("running_var" in name for name in moved)
    assert any(name.endswith("weight") for name in moved)


def test_a_frozen_backbone_stays_bit_for_bit(make_lab: MakeLab, normalized: Settings) -> None:
    watch = Watch()
    # Validation puts all in another mode and back.
    train(make_lab(), change(normalized, backbone_rate=0.0), callbacks=[watch])
    assert all(same(watch.states[0], state) for state in watch.states)


def test_a_backbone_at_rest_counts_nowhere() -> None:
    module = make(unfreeze=0.5, steps=10)
    for parameter in module.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    module.on_before_optimizer_step(torch.optim.SGD(module.model.parameters()))
    backbone = {id(p) for p in module.model.network.backbone.parameters()}
    assert all((p.grad is None) == (id(p) in backbone) for p in module.model.parameters())


def batch() -> Batch:
    generator = torch.manual_seed(0)
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return Batch(pixels, ["one", "two"])


def test_a_step_gives_the_loss_and_its_parts() -> None:
    module = make(losses={"cross_entropy": 1.0, "l1": 10.0})
    values = module.training_step(batch(), 0)
    assert values.keys() == {"cross_entropy", "l1", "loss"}
    assert values["loss"].requires_grad and not values["l1"].requires_grad
    expected = values["cross_entropy"] + 10 * values["l1"]
    torch.testing.assert_close(values["loss"].detach(), expected)


def test_what_is_drawn_depends_on_seed_and_step_alone() -> None:
    module, drawn = make(accumulate=2), []
    for number, disturb in ((0, 1), (0, 2), (1, 1), (2, 5)):
        torch.rand(disturb)
        module._seed_step(number)
        drawn.append(float(torch.rand(())))
    # The third is the second part of the same step, the fourth would be its first again.
    assert drawn[0] == drawn[1] == drawn[3] != drawn[2]


def test_the_network_that_trains_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compile(function: Callable[..., Any]) -> Callable[..., Any]:
        def compiled(*args: object) -> object:
            calls.append(function.__self__)  # type: ignore[attr-defined]
            return function(*args)

        return compiled

    plain = make(pretrained=False)
    # The compiler itself would take most of a minute.
    monkeypatch.setattr(torch, "compile", compile)
    module = make(pretrained=False, compile=True)
    losses = [each.training_step(batch(), 0)["loss"] for each in (plain, module)]
    module._look(module.averaged, batch())
    assert calls == [module.model.network]
    assert torch.equal(*losses)
    assert module.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_half_precision_learns_on_a_processor(
    make_lab: MakeLab, small: Settings, optimizer: str
) -> None:
    weights = {"cross_entropy": 1.0, "huber": 1.0, "colorfulness": 0.1}
    losses = Training.model_validate({"losses": weights}).losses
    halves = change(
        small,
        precision="bf16-mixed",
        optimizer=optimizer,
        steps=2,
        losses=losses,
    )
    summary = train(make_lab(validation=False), halves)
    assert math.isfinite(summary["train_loss"])


@pytest.mark.parametrize(("clip", "given"), [(0.0, None), (0.5, 0.5)])
def test_no_clipping_is_none(
    make_lab: MakeLab, small: Settings, clip: float, given: float | None
) -> None:
    watch = Watch()
    train(make_lab(validation=False), change(small, clip=clip, steps=1), callbacks=[watch])
    assert watch.clip == given
