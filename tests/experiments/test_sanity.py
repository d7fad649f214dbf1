from itertools import count
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from chromaflow.experiments import sanity as module
from chromaflow.experiments.sanity import picture, sanity, side_for
from chromaflow.models import NETWORKS, build_network, network_class
from chromaflow.models.backbones.efficientnet_lite0 import NAME
from chromaflow.models.networks.efficientnet_lite0 import EfficientNetColorizer
from tests.experiments.conftest import tiny
from tests.support.layers import gradient


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes 30 ms, however busy the machine: each of two looks at the clock adds 15 ms."""
    looks = count()
    stand_in = SimpleNamespace(monotonic=lambda: next(looks) * 0.015)
    monkeypatch.setattr(module, "time", stand_in)


def test_a_recipe_that_learns_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is asked here is low, so that a narrow network gets there within some hundred steps.
    monkeypatch.setattr(module, "LOSSLESS", 22.5)
    result, pictures = sanity(tiny(learning_rate=3e-3), side=32, minutes=1)
    assert result.passed
    assert result.reached >= result.best - module.MARGIN
    assert result.reached > result.grey
    assert result.stuck == ""
    assert result.curve[-1] == (result.steps, result.reached)
    assert pictures.shape == (8, 4, 3, 32, 32)
    assert picture(pictures).size == (8 * 32, 4 * 32)
    grey = pictures[:, 0]
    torch.testing.assert_close(grey[:, 0], grey[:, 2], atol=1e-3, rtol=0)


def test_a_network_of_small_patches_gets_small_photographs() -> None:
    assert {name: side_for(name) for name in ("richart", "vcnn", "zhang2016")} == {
        "richart": 8,
        "vcnn": 32,
        "zhang2016": 64,
    }


def test_the_patch_is_what_decides_a_pixel() -> None:
    for name in NETWORKS:
        field = network_class(name).receptive_field
        if field is None:
            continue
        network = build_network(name, 2).eval()
        lightness = torch.rand(1, 1, 64, 64, requires_grad=True)
        network(lightness)[0, :, 32, 32].sum().backward()
        rows = gradient(lightness)[0, 0].any(dim=1).nonzero()
        assert rows.max() - rows.min() + 1 <= field


def test_a_rate_that_is_too_low_is_told() -> None:
    result, _ = sanity(tiny(learning_rate=1e-9, backbone_rate=0.0), side=32, minutes=0.05)
    assert not result.passed
    assert result.reached < result.best - module.MARGIN
    assert result.stuck.startswith("it has stopped improving: raise model.network.width or ")


def test_a_layer_without_a_gradient_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(EfficientNetColorizer):
        def __init__(
            self,
            channels: int,
            *,
            width: float,
            backbone: str = NAME,
            weights: str = "none",
            folded: bool | None = None,
        ) -> None:
            super().__init__(
                channels, width=width, backbone=backbone, weights=weights, folded=folded
            )
            self.forgotten = nn.Conv2d(1, 1, 1)

    monkeypatch.setattr("chromaflow.models.networks.efficientnet_lite0.NETWORK", Cut)
    result, _ = sanity(tiny(), side=32, minutes=0.05)
    assert "no gradient reaches" in result.stuck
    assert "network.forgotten.weight" in result.stuck
