from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.settings import Training
from chromaflow.settings.losses import LossSettings
from chromaflow.training.losses import LOSSES, Losses, Step

MakeStep = Callable[..., Step]


@pytest.fixture(scope="module")
def step(make_step: MakeStep, photographs: tuple[Tensor, Tensor]) -> Step:
    lightness, ab = photographs
    logits = build_codebook("regression").ideal_logits(ab.roll(1, 0))
    return make_step(logits, ab, lightness=lightness)


def losses(**weights: float) -> Losses:
    torch.manual_seed(0)
    given: dict[str, Any] = dict(weights)
    if "adversarial" in given:
        given["adversarial"] = {"weight": weights["adversarial"], "discriminator_width": 0.125}
    return Losses(Training.model_validate({"losses": given}))


def test_every_name_of_the_settings_is_there() -> None:
    assert list(LOSSES) == list(LossSettings.model_fields)


def test_the_sum_is_weighted(step: Step) -> None:
    parts = losses(l1=0.1, perceptual=5.0, adversarial=1.0, colorfulness=0.5)(step)
    assert list(parts) == ["l1", "perceptual", "adversarial", "colorfulness", "loss"]
    expected = (
        0.1 * parts["l1"]
        + 5 * parts["perceptual"]
        + parts["adversarial"]
        + 0.5 * parts["colorfulness"]
    )
    torch.testing.assert_close(parts["loss"], expected)


def test_fit_is_measured_without_the_adversary(step: Step) -> None:
    both = losses(l1=100.0, adversarial=1.0)
    parts = both(step, of_fit=True)
    assert list(parts) == ["l1", "loss"]
    torch.testing.assert_close(parts["loss"], 100 * parts["l1"])
    assert both.adversary is not None
    assert losses(l1=1.0).adversary is None


def test_only_what_learns_is_kept() -> None:
    state = losses(l1=1.0, perceptual=1.0, adversarial=1.0).state_dict()
    assert state and all(name.startswith("adversary.discriminator.") for name in state)
    assert not losses(l1=1.0, perceptual=1.0, colorfulness=1.0).state_dict()
    assert not list(losses(perceptual=1.0).parameters())
