from pathlib import Path

import pytest
import torch
from torch import nn

from chromaflow import settings
from chromaflow.models import build_network
from chromaflow.models.backbones.timm import classify
from chromaflow.models.networks.attention_fusion import AttentionFusion
from chromaflow.models.networks.koalarization import Koalarization
from chromaflow.project.paths import Project
from chromaflow.settings.networks import BackboneNetwork

ROOT = Path(__file__).resolve().parents[3]
LITE = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def small() -> AttentionFusion:
    torch.manual_seed(0)
    return AttentionFusion(2, width=0.125, backbone=LITE).eval()


def test_published_size() -> None:
    recipe = settings.load(Project(ROOT), recipe="attention-fusion")
    assert recipe.model.network == BackboneNetwork(name="attention_fusion", width=1.0)
    with torch.device("meta"):
        network = build_network("attention_fusion", 2)
        plain = build_network("koalarization", 2)
        assert network.eval()(torch.empty(1, 1, 224, 224)).shape == (1, 2, 112, 112)
    normalized = [64, 128, 128, 256, 256, 512, 512, 256, 256, 128, 64, 64, 32]
    more = 2 * 64 * 9  # two coordinates at the first layer
    more += 256 * 256 + 2 * 256 * 256  # score and combination
    # Two numbers a channel in the place of a bias, which the fusion keeps beside.
    more += sum(normalized) + 256
    counts = [sum(p.numel() for p in n.parameters()) for n in (network, plain)]
    assert counts[0] == counts[1] + more == 62_617_930


def test_the_encoder_sees_where_it_is(small: AttentionFusion) -> None:
    lightness = torch.rand(2, 1, 3, 5, generator=torch.manual_seed(1)) * 100
    seen = small.see(lightness)
    assert torch.equal(seen[:, :1], lightness / 50 - 1)
    assert torch.equal(seen[1, 1, 2], torch.tensor([-1, -0.5, 0, 0.5, 1]))
    assert torch.equal(seen[0, 2, :, 4], torch.tensor([-1.0, 0, 1]))


def test_attention_is_the_formula(small: AttentionFusion) -> None:
    features = torch.randn(2, 32, 3, 4, generator=torch.manual_seed(2))
    with torch.inference_mode():
        given = small.attend(features)
    score, combine = (layer.weight.detach().double() for layer in (small.score, small.combine))
    for image, picture in zip(given, features.double(), strict=True):
        places = [picture[:, y, x] for y in range(3) for x in range(4)]
        for number, here in enumerate(places):
            scores = torch.stack([here @ (score @ there) for there in places]) / 32**0.5
            shares = scores.exp() / scores.exp().sum()
            context = sum(share * there for share, there in zip(shares, places, strict=True))
            expected = torch.tanh(combine @ torch.cat([context, here]))
            found = image[:, number // 4, number % 4].double()
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_every_place_matters_to_every_other(small: AttentionFusion) -> None:
    features = torch.randn(1, 32, 4, 4, requires_grad=True)
    small.attend(features)[0, :, 0, 0].sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum(dim=1).gt(0).all()


def test_all_but_the_last_layers_are_normalized(small: AttentionFusion) -> None:
    rectified = [m for m in small.modules() if isinstance(m, nn.Sequential) and len(m) == 3]
    own = [m for m in rectified if isinstance(m[2], nn.ReLU)]
    assert len(own) == 8 + 4
    assert all(isinstance(m[1], nn.BatchNorm2d) for m in own)
    assert isinstance(small.normalization, nn.BatchNorm2d)
    assert isinstance(small.decoder[-1], nn.Conv2d)


def test_without_attention_and_coordinates_it_is_koalarization(small: AttentionFusion) -> None:
    lightness = torch.rand(1, 1, 32, 48) * 100
    with torch.inference_mode():
        fused = Koalarization.fuse(small, lightness)
        vector = classify(small.backbone, lightness)
        linear = small.fusion(small.encoder(small.see(lightness)), vector)
        assert torch.equal(fused, small.normalization(linear).relu())
        assert torch.equal(small(lightness), small.decoder(small.attend(fused)))


def test_every_layer_learns() -> None:
    torch.manual_seed(0)
    network = AttentionFusion(2, width=0.125, backbone=LITE)
    network.backbone.requires_grad_(requires_grad=False).eval()
    network(torch.rand(2, 1, 32, 64) * 100).square().sum().backward()
    for name, parameter in network.named_parameters():
        if not name.startswith("backbone."):
            assert parameter.grad is not None, name


def test_config_builds_the_same_network(small: AttentionFusion) -> None:
    config = small.config()
    assert config["name"] == "attention_fusion"
    again = build_network(config.pop("name"), 2, **config)
    again.load_state_dict(small.state_dict())
