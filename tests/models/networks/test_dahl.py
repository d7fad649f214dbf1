import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.errors import ModelError
from chromaflow.models.networks.dahl import Dahl
from tests.support.layers import layer

# VGG16 to conv4_3, channels out.
ENCODER = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512)


def test_parameters_are_those_of_the_layers() -> None:
    # Published are the layers; this is their sum, normalizations with scale and shift included.
    inputs, encoder = 3, 0
    for outputs in ENCODER:
        encoder += 9 * inputs * outputs + outputs
        inputs = outputs
    decoder = 2 * 512 + 512 * 256 + 256
    decoder += sum(2 * level for level in (256, 128, 64, 3))
    for inputs, outputs in ((256, 128), (128, 64), (64, 3), (3, 3)):
        decoder += 9 * inputs * outputs + 2 * outputs
    decoder += 9 * 3 * 2 + 2
    with torch.device("meta"):
        network = Dahl(2)
    assert encoder == 7_635_264
    assert sum(p.numel() for p in network.parameters()) == encoder + decoder == 8_139_419
    assert network(torch.empty(2, 1, 224, 224, device="meta")).shape == (2, 2, 224, 224)


@pytest.mark.parametrize(
    ("backbone", "stride"), [("vgg16", 1), ("tf_efficientnet_lite0", 2), ("convnext_tiny", 4)]
)
def test_output_has_the_finest_stride_of_the_backbone(backbone: str, stride: int) -> None:
    with torch.device("meta"):
        network = Dahl(2, width=0.5, backbone=backbone)
        logits = network(torch.empty(1, 1, 64, 96))
    assert network.stride == stride
    assert logits.shape == (1, 2, 64 // stride, 96 // stride)
    assert network.config()["backbone"] == backbone


def normalized(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


@pytest.mark.parametrize("backbone", ["vgg11", "tf_efficientnet_lite0"])
def test_it_computes_the_published_graph(backbone: str) -> None:
    torch.manual_seed(0)
    network = Dahl(2, backbone=backbone).train()
    lightness = torch.rand(2, 1, 32, 64) * 100
    network(lightness)
    network.eval()
    with torch.no_grad():
        *skipped, deepest = network.backbone(lightness)
        x = network.deepest[1](
            normalized(deepest, layer(network, "deepest.0", nn.BatchNorm2d))
        ).relu()
        for level in (2, 1, 0):
            x = F.interpolate(x, skipped[level].shape[-2:], mode="bilinear")
            add = network.get_submodule(f"skips.{level}.1")
            norm = layer(network, f"skips.{level}.0", nn.BatchNorm2d)
            x = x + add(normalized(skipped[level], norm))
            weight = layer(network, f"layers.{level}.0", nn.Conv2d).weight
            norm = layer(network, f"layers.{level}.1", nn.BatchNorm2d)
            x = normalized(F.conv2d(x, weight, padding=1), norm).relu()
        grey = F.interpolate(lightness / 100, x.shape[-2:], mode="area").repeat(1, 3, 1, 1)
        x = x + normalized(grey, network.grey)
        weight = layer(network, "last.0", nn.Conv2d).weight
        norm = layer(network, "last.1", nn.BatchNorm2d)
        x = normalized(F.conv2d(x, weight, padding=1), norm).relu()
        expected = F.conv2d(x, network.head.weight, network.head.bias, padding=1)
        torch.testing.assert_close(network(lightness), expected, atol=1e-4, rtol=1e-4)


def test_published_skips_add_maps_as_they_are() -> None:
    with torch.device("meta"):
        published, half = Dahl(2), Dahl(2, width=0.5)
    assert len(published.skips) == 3
    assert all(isinstance(published.get_submodule(f"skips.{n}.1"), nn.Identity) for n in range(3))
    widths = [layer(half, f"skips.{n}.1", nn.Conv2d).out_channels for n in range(3)]
    assert widths == [32, 64, 128]


@pytest.mark.parametrize("width", [0, 8.5, "1"])
def test_width_is_checked(width: float) -> None:
    with pytest.raises(ModelError, match=r"set model\.network\.width"):
        Dahl(2, width=width)
