from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow import settings
from chromaflow.errors import ModelError
from chromaflow.models.networks.hwang_zhou import HwangZhou
from chromaflow.project.paths import Project
from chromaflow.settings.networks import BackboneNetwork
from tests.support.layers import layer

# VGG16 to conv4_3, channels out.
ENCODER = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512)
ROOT = Path(__file__).resolve().parents[3]


def test_parameters_are_those_of_the_layers() -> None:
    # The report tells the layers and no number of parameters; this is their sum.
    inputs, encoder = 3, 0
    for outputs in ENCODER:
        encoder += 9 * inputs * outputs + outputs + 2 * outputs
        inputs = outputs
    up = sum(16 * 2 * level * level + 2 * level for level in (256, 128, 64))
    head = 9 * 64 * 2 + 2
    with torch.device("meta"):
        network = HwangZhou(2)
    assert sum(p.numel() for p in network.parameters()) == encoder + up + head == 10_395_202
    assert network(torch.empty(2, 1, 224, 224, device="meta")).shape == (2, 2, 224, 224)


@pytest.mark.parametrize(
    ("backbone", "stride"), [("vgg16", 1), ("tf_efficientnet_lite0", 2), ("convnext_tiny", 4)]
)
def test_output_has_the_finest_stride_of_the_backbone(backbone: str, stride: int) -> None:
    with torch.device("meta"):
        network = HwangZhou(100, backbone=backbone)
        logits = network(torch.empty(1, 1, 64, 96))
    assert network.stride == stride
    assert logits.shape == (1, 100, 64 // stride, 96 // stride)
    assert network.config()["backbone"] == backbone


def test_it_adds_the_maps_of_the_encoder() -> None:
    torch.manual_seed(0)
    network = HwangZhou(2, backbone="vgg11_bn").train()
    lightness = torch.rand(2, 1, 32, 64) * 100
    network(lightness)
    network.eval()

    def up(level: int, x: Tensor) -> Tensor:
        convolution = layer(network, f"ups.{level}.0", nn.ConvTranspose2d)
        norm = layer(network, f"ups.{level}.1", nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        x = F.conv_transpose2d(x, convolution.weight, stride=2, padding=1)
        shape = (-1, 1, 1)
        x = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + 1e-5).sqrt()
        return (x * norm.weight.view(shape) + norm.bias.view(shape)).relu()

    with torch.no_grad():
        first, second, third, x = network.backbone(lightness)
        for level, skipped in ((2, third), (1, second), (0, first)):
            x = up(level, x) + skipped
        expected = F.conv2d(x, network.head.weight, network.head.bias, padding=1)
        torch.testing.assert_close(network(lightness), expected, atol=1e-4, rtol=1e-4)


def test_published_skips_have_no_weights() -> None:
    with torch.device("meta"):
        assert not list(HwangZhou(2, backbone="vgg16").skips.parameters())
        half = HwangZhou(2, width=0.5, backbone="vgg16")
    assert [part.out_channels for part in half.modules() if isinstance(part, nn.ConvTranspose2d)]
    skips = [layer(half, f"skips.{n}.0", nn.Conv2d) for n in range(len(half.skips))]
    assert [skip.out_channels for skip in skips] == [32, 64, 128]


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"width": 0}, "set model.network.width"),
        ({"backbone": "vgg61"}, "timm has no network 'vgg61'"),
        ({"backbone": "vit_tiny_patch16_224"}, "twice the one before"),
        ({"weights": "weights.bin"}, "is not a safetensors file"),
    ],
)
def test_mistakes_are_told(sizes: dict[str, object], told: str) -> None:
    with torch.device("meta"), pytest.raises(ModelError, match=told):
        HwangZhou(2, **sizes)  # type: ignore[arg-type]


def test_two_recipes_are_one_network() -> None:
    baseline, classifier = (
        settings.load(Project(ROOT), "sample", recipe=f"hwang-zhou-{kind}")
        for kind in ("regression", "classification")
    )
    assert baseline.model.network == classifier.model.network == BackboneNetwork(name="hwang_zhou")
    assert (baseline.model.codebook.name, *baseline.training.losses.named()) == (
        "regression",
        "huber",
    )
    assert (classifier.model.codebook.name, *classifier.training.losses.named()) == (
        "channel50",
        "cross_entropy",
    )
