import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chromaflow.models import build_model
from chromaflow.settings import Training
from chromaflow.training.module import ColorizerTraining, rate_at


@given(st.integers(1, 5000), st.floats(0, 0.99))
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(steps: int, warmup: float) -> None:
    rates = [rate_at(step, steps, warmup) for step in range(steps + 1)]
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[0] > 0


def test_the_rate_is_one_cycle() -> None:
    assert rate_at(0, 1000, 0.1) == pytest.approx(0.01)
    assert rate_at(99, 1000, 0.1) == rate_at(100, 1000, 0.1) == 1
    assert rate_at(550, 1000, 0.1) == pytest.approx(0.5)
    assert rate_at(0, 10, 0.0) == 1


def make(**training: object) -> ColorizerTraining:
    torch.manual_seed(0)
    model = build_model(
        "efficientnet_lite0",
        "grid313",
        width=8,
        pretrained=True,
        temperature=0.38,
        rebalance=0.5,
    )
    return ColorizerTraining(model, Training.model_validate(training), pretrained=True)


def test_the_encoder_learns_at_its_own_rate() -> None:
    module = make(learning_rate=0.1, encoder_rate=0.25, warmup=0.0)
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.025]
    encoder = {id(p) for p in module.model.network.encoder.parameters()}
    assert {id(p) for p in groups[1]["params"]} == encoder
    trained = [p for group in groups for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in module.model.parameters()}


def test_averaged_weights_follow_the_definition() -> None:
    module = make(ema=0.5)
    bias, normal = module.model.network.head.bias, module.model.network.up[0][0][1]
    expected = None
    for count in range(6):
        with torch.no_grad():
            bias.fill_(float(count))
            normal.running_mean.fill_(float(count))
            normal.num_batches_tracked.fill_(count)
        module._average.update_parameters(module.model.network)
        decay = min(0.5, (1 + count) / (10 + count))
        expected = count if expected is None else decay * expected + (1 - decay) * count
    network = module.averaged.network
    assert network.head.bias[0].item() == pytest.approx(expected)
    assert network.up[0][0][1].running_mean[0].item() == pytest.approx(expected)
    assert network.up[0][0][1].num_batches_tracked == 5
    assert not network.head.bias.requires_grad
    assert module.averaged.codebook is module.model.codebook
    assert not module.averaged.training
    assert module.model.training


def test_without_averaging_the_last_weights_stand() -> None:
    module = make(ema=0.0)
    for value in (1.0, 2.0, 5.0):
        torch.nn.init.constant_(module.model.network.head.bias, value)
        module._average.update_parameters(module.model.network)
    assert (module.averaged.network.head.bias == 5).all()
    assert math.isfinite(float(module.averaged.network.head.weight.sum()))
