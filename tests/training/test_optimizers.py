import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chromaflow.models.networks.base import Network
from chromaflow.settings import Training
from chromaflow.training.optimizers import (
    backbone_learns,
    build_optimizer,
    build_schedule,
    initialize,
    rate_at,
)

SCHEDULES = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 3000),
        "warmup": st.floats(0, 0.99),
        "drops": st.lists(st.floats(0, 0.99), max_size=4),
        "drop_factor": st.floats(0.05, 0.9),
    }
)


def training(**values: object) -> Training:
    return Training.model_validate(values)


@given(SCHEDULES, st.sampled_from(["one_cycle", "constant", "drops"]))
def test_every_rate_rises_to_its_peak_and_never_again(values: dict[str, Any], name: str) -> None:
    chosen = training(**values, schedule=name)
    rates = [rate_at(step, chosen) for step in range(chosen.steps + 1)]
    rise = math.ceil(chosen.warmup * chosen.steps)
    assert rates[:rise] == sorted(rates[:rise])
    assert rates[rise:] == sorted(rates[rise:], reverse=True)
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[0] > 0
    if name == "one_cycle":
        assert rates[-1] == pytest.approx(0, abs=1e-9)
    if name == "constant":
        assert set(rates[rise:]) == {1.0}
    if name == "drops":
        assert rates[-1] == pytest.approx(chosen.drop_factor ** len(chosen.drops))


def test_one_cycle_is_a_line_and_half_a_cosine() -> None:
    one = training(steps=1000, warmup=0.1)
    assert rate_at(0, one) == pytest.approx(0.01)
    assert rate_at(99, one) == rate_at(100, one) == 1
    assert rate_at(550, one) == pytest.approx(0.5)
    assert rate_at(0, training(steps=10, warmup=0.0)) == 1


def test_drops_come_where_they_are_set() -> None:
    drops = training(steps=100, warmup=0.0, schedule="drops", drops=[0.5, 0.75])
    assert [rate_at(step, drops) for step in (0, 49, 50, 74, 75, 99)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    halved = drops.model_copy(update={"drop_factor": 0.5})
    assert rate_at(99, halved) == 0.25


@given(SCHEDULES, st.floats(0, 0.99), st.floats(0, 2))
def test_a_backbone_that_learns_never_rests_again(
    values: dict[str, Any], unfreeze: float, rate: float
) -> None:
    chosen = training(**values, unfreeze=unfreeze, backbone_rate=rate)
    learns = [backbone_learns(step, chosen) for step in range(chosen.steps + 1)]
    assert learns == sorted(learns)
    assert learns[-1] == (rate > 0)
    assert learns[0] == (unfreeze == 0 and rate > 0)


class Layers(Network):
    """One of each kind, and a backbone."""

    name = "layers"
    stride = multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(24, 64, 5)
        self.transposed = nn.ConvTranspose2d(48, 32, 4)
        self.linear = nn.Linear(300, 200)
        self.normal = nn.BatchNorm2d(64)
        self.backbone = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Linear(8, 8))
        nn.init.constant_(self.normal.weight, 0.7)
        nn.init.constant_(self.normal.bias, 0.3)

    def forward(self, lightness: Tensor, guide: object = None) -> Tensor:
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        return {"name": self.name}


def drawn(how: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights before and after."""
    torch.manual_seed(0)
    network = Layers()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    initialize(network, how)
    return before, network.state_dict()


# Weights into a unit and out of it. torch counts those of a transposed one the other way round.
FANS = {"convolution": (600, 1600), "transposed": (512, 768), "linear": (300, 200)}


@pytest.mark.parametrize("layer", FANS)
def test_xavier_is_uniform_by_both_fans(layer: str) -> None:
    weight = drawn("xavier")[1][f"{layer}.weight"]
    bound = math.sqrt(6 / sum(FANS[layer]))
    assert 0.99 * bound < float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.03)
    assert abs(float(weight.mean())) < 0.02 * bound


@pytest.mark.parametrize("layer", FANS)
def test_he_is_normal_by_the_fan_in(layer: str) -> None:
    weight = drawn("he")[1][f"{layer}.weight"]
    deviation = math.sqrt(2 / FANS[layer][0])
    assert float(weight.std()) == pytest.approx(deviation, rel=0.03)
    assert float(weight.abs().max()) > 3.5 * deviation
    within = (weight.abs() < deviation).float().mean()
    assert float(within) == pytest.approx(0.683, abs=0.01)


@pytest.mark.parametrize("how", ["xavier", "he"])
def test_biases_are_nothing_and_the_rest_stays(how: str) -> None:
    before, after = drawn(how)
    for name in before:
        if name.split(".")[0] not in FANS:
            assert torch.equal(before[name], after[name]), name
        elif name.endswith("bias"):
            assert not after[name].any()
        else:
            assert not torch.equal(before[name], after[name])


def test_torch_leaves_all_as_it_is() -> None:
    before, after = drawn("torch")
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def gradients(count: int) -> list[Tensor]:
    generator = torch.manual_seed(0)
    return [torch.randn(5, dtype=torch.float64, generator=generator) for _ in range(count)]


def trained(chosen: Training, rate: float, count: int) -> Tensor:
    parameter = nn.Parameter(torch.ones(5, dtype=torch.float64))
    optimizer = build_optimizer(chosen, [parameter], rate)
    for gradient in gradients(count):
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def sgd(x: Tensor, gradient: Tensor, state: dict[str, Any]) -> Tensor:
    state["m"] = 0.8 * state.get("m", 0) + gradient + 0.1 * x
    moved: Tensor = x - 0.01 * state["m"]
    return moved


def adam(x: Tensor, gradient: Tensor, state: dict[str, Any], coupled: float = 0.1) -> Tensor:
    gradient = gradient + coupled * x
    state["t"] = state.get("t", 0) + 1
    state["m"] = 0.8 * state.get("m", 0) + 0.2 * gradient
    state["v"] = 0.95 * state.get("v", 0) + 0.05 * gradient**2
    mean, square = state["m"] / (1 - 0.8 ** state["t"]), state["v"] / (1 - 0.95 ** state["t"])
    moved: Tensor = x - 0.01 * mean / (square.sqrt() + 1e-8)
    return moved


def adamw(x: Tensor, gradient: Tensor, state: dict[str, Any]) -> Tensor:
    return adam(x, gradient, state, coupled=0.0) - 0.01 * 0.1 * x


@pytest.mark.parametrize("rule", [sgd, adam, adamw])
def test_optimizers_do_what_their_names_say(rule: Callable[..., Tensor]) -> None:
    chosen = training(optimizer=rule.__name__, betas=[0.8, 0.95], weight_decay=0.1)
    expected, state = torch.ones(5, dtype=torch.float64), dict[str, Any]()
    for gradient in gradients(4):
        expected = rule(expected, gradient, state)
    torch.testing.assert_close(trained(chosen, 0.01, 4), expected)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_beside_mixed_precision_nothing_is_fused(optimizer: str) -> None:
    fused = []
    for precision in ("32-true", "bf16-mixed"):
        chosen = training(optimizer=optimizer, precision=precision)
        fused.append(build_optimizer(chosen, [nn.Parameter(torch.ones(1))], 0.1).defaults["fused"])
    assert fused == [True, False]


def test_the_backbone_follows_the_schedule_once_it_learns() -> None:
    chosen = training(steps=10, warmup=0.2, unfreeze=0.5)
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": rate} for rate in (1.0, 0.3)]
    optimizer = build_optimizer(chosen, groups, 1.0)
    schedule = build_schedule(chosen, optimizer, backbone=1)
    rates = []
    for _ in range(10):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    rest, backbone = zip(*rates, strict=True)
    assert list(rest) == pytest.approx([rate_at(step, chosen) for step in range(10)])
    assert backbone[:5] == (0.0,) * 5
    assert list(backbone[5:]) == pytest.approx([0.3 * rate for rate in rest[5:]])
    assert all(later < before for before, later in pairwise(backbone[5:]))
