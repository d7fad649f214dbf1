import itertools

import pytest
import torch
from torch import nn

from chromaflow.errors import ModelError
from chromaflow.models import build_network
from chromaflow.models.networks.base import Hints
from chromaflow.models.networks.zhang2017 import UserGuided


@pytest.fixture(scope="module")
def network() -> UserGuided:
    torch.manual_seed(0)
    return UserGuided(2, width=0.125, depth=0.5).eval()


def published_parameters() -> int:
    """Of the authors' table: convolutions with a bias, and two numbers a normalized channel."""

    def convolutions(kernel: int, *channels: int) -> int:
        pairs = itertools.pairwise(channels)
        return sum(i * o * kernel**2 + o for i, o in pairs)

    blocks = [(4, 64, 64), (64, 128, 128), (128, 256, 256, 256), *[(512,) * 4] * 3]
    blocks += [(256, 512, 512, 512), (256, 256, 256), (128, 128)]
    total = sum(convolutions(3, *block) + 2 * block[-1] for block in blocks)
    total += convolutions(4, 512, 256) + convolutions(4, 256, 128) + convolutions(4, 128, 128)
    total += convolutions(3, 256, 256) + convolutions(3, 128, 128) + convolutions(3, 64, 128)
    return total + convolutions(3, 128, 128) + convolutions(1, 256, 529) + convolutions(1, 128, 2)


def test_published_size() -> None:
    with torch.device("meta"):
        network = build_network("zhang2017", 2)
        assert isinstance(network, UserGuided)
        outputs = network.outputs(torch.rand(1, 1, 224, 224))
    overall = sum(p.numel() for p in network.overall.parameters())
    whole = sum(p.numel() for p in network.parameters())
    assert whole - overall == published_parameters() == 34_187_027
    assert overall == 316 * 512 + 512 + 3 * (512 * 512 + 512)
    assert outputs.logits.shape == (1, 2, 224, 224)
    assert outputs.extras["suggestions"].shape == (1, 529, 56, 56)


def test_layers_of_the_table() -> None:
    with torch.device("meta"):
        network = build_network("zhang2017", 2)
    found = {
        name: (*module.weight.shape[:2], module.dilation[0])
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    }
    assert found["block1.0"] == (64, 4, 1)
    assert [found[f"block4.{layer}"][1] for layer in (0, 2, 4)] == [256, 512, 512]
    assert {found[f"deep.{block}.{layer}"] for block in (0, 1) for layer in (0, 2, 4)} == {
        (512, 512, 2)
    }
    assert found["joint8.skip"] == (256, 256, 1)
    assert found["joint9.skip"] == (128, 128, 1)
    assert found["joint10.skip"] == (128, 64, 1)


def test_no_guide_is_no_hints(network: UserGuided) -> None:
    lightness = torch.rand(2, 1, 32, 40) * 100
    nothing = Hints(torch.zeros(2, 3, 32, 40), torch.zeros(2, 316))
    with torch.inference_mode():
        assert torch.equal(network(lightness), network(lightness, nothing))
        assert torch.equal(network.outputs(lightness).logits, network(lightness))


def test_both_kinds_of_hints_reach_the_color() -> None:
    # Untrained, in double precision: what a hint changes may be little.
    torch.manual_seed(0)
    network = UserGuided(2, width=0.125, depth=0.5).double().eval()
    lightness = 100 * torch.rand(2, 1, 32, 32, dtype=torch.float64)
    local = torch.zeros(2, 3, 32, 32).double()
    local[0, :, 10:14, 10:14] = torch.tensor([50.0, -20.0, 1.0])[:, None, None]
    overall = torch.zeros(2, 316).double()
    overall[0, 314:] = 1
    told = (Hints(local, torch.zeros_like(overall)), Hints(torch.zeros_like(local), overall))
    with torch.inference_mode():
        plain = network(lightness)
        for guide in told:
            changed = (network(lightness, guide) - plain).abs().amax(dim=(1, 2, 3))
            assert changed[0] > 1e-9
            assert changed[1] == 0


def test_suggestions_teach_only_themselves(network: UserGuided) -> None:
    network.zero_grad()
    outputs = network.outputs(torch.rand(1, 1, 16, 16) * 100)
    outputs.extras["suggestions"].square().sum().backward()
    learned = {name for name, value in network.named_parameters() if value.grad is not None}
    assert learned == {"suggestions.weight", "suggestions.bias"}
    network.zero_grad()


def test_it_can_be_exported(network: UserGuided) -> None:
    lightness = torch.rand(1, 1, 16, 24) * 100
    exported = torch.export.export(network, (lightness,)).module()
    torch.testing.assert_close(exported(lightness), network(lightness))


def test_sizes_come_back(network: UserGuided) -> None:
    again = build_network(**network.config(), channels=2)
    assert again.config() == {"name": "zhang2017", "width": 0.125, "depth": 0.5}
    again.load_state_dict(network.state_dict())
    with pytest.raises(ModelError, match="depth = 0"):
        UserGuided(2, depth=0)
