import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from chromaflow.errors import ModelError
from chromaflow.models import build_network
from chromaflow.models.backbones.efficientnet_lite0 import NAME
from chromaflow.models.networks.ddcolor import Blur, ColorLayer, DDColor, PixelBlock, sine_positions
from tests.support.layers import gradient, layer, layers

SMALL = {"width": 0.0625, "depth": 1 / 3, "backbone": NAME}


def small(channels: int) -> DDColor:
    network = build_network("ddcolor", channels, **SMALL)
    assert isinstance(network, DDColor)
    return network


@pytest.fixture(scope="module")
def network() -> DDColor:
    torch.manual_seed(0)
    made = small(5)
    # As if trained: the last layers start almost at nothing.
    nn.init.normal_(made.mix.weight)
    nn.init.normal_(made.direct.weight)
    return made.eval()


def grey(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.manual_seed(1)) * 100


@pytest.mark.parametrize(("backbone", "millions"), [("convnext_tiny", 55), ("convnext_large", 228)])
def test_published_size(backbone: str, millions: float) -> None:
    with torch.device("meta"):
        network = build_network("ddcolor", 2, backbone=backbone)
        shape = network(torch.empty(1, 1, 224, 224)).shape
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == pytest.approx(millions * 1e6, rel=0.002)
    assert shape == (1, 2, 224, 224)


def test_published_layers() -> None:
    with torch.device("meta"):
        network = build_network("ddcolor", 2)
    assert isinstance(network, DDColor)
    blocks = layers(network, "pixel_decoder", PixelBlock)
    widths = [layer(block, "join.1", nn.Conv2d).out_channels for block in blocks]
    assert [*widths, network.last.out_channels // 16] == [512, 512, 256, 256]
    colors = network.color_decoder
    assert colors.queries.shape == (100, 256)
    projections = layers(colors, "project", nn.Conv2d)
    assert [projection.in_channels for projection in projections] == [512, 512, 256]
    assert len(colors.layers) == 9
    for part in layers(colors, "layers", ColorLayer):
        assert part.cross.num_heads == part.mutual.num_heads == 8
        assert layer(part, "feed_forward.0", nn.Linear).weight.shape == (2048, 256)


def test_joins_the_maps_of_all_queries_with_the_picture(network: DDColor) -> None:
    # As published: every query's map at full size, the picture beside, a 1×1 convolution.
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
        for name, module in (("pixels", network.last), ("colors", network.color_decoder))
    ]
    lightness = grey(2, 1, 64, 32)
    with torch.inference_mode():
        given = network(lightness)
        pixels = Blur()(F.pixel_shuffle(F.relu(seen["pixels"]), 4))
        maps = torch.einsum("bqc,bchw->bqhw", seen["colors"], pixels)
        weight = torch.cat([network.mix.weight, network.direct.weight[:, :, 0, 0]], dim=1)
        both = torch.cat([maps, lightness / 50 - 1], dim=1)
        expected = F.conv2d(both, weight[:, :, None, None], network.direct.bias)
    for hook in hooks:
        hook.remove()
    assert seen["colors"].shape[1] == 100
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_scales_take_turns(network: DDColor) -> None:
    seen: list[int] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[2].shape[1]))
        for layer in network.color_decoder.layers
    ]
    with torch.inference_mode():
        network(grey(1, 1, 64, 96))
    for hook in hooks:
        hook.remove()
    assert seen == [4 * 6, 8 * 12, 16 * 24]


def test_queries_look_at_features_before_each_other(network: DDColor) -> None:
    first, order = layer(network, "color_decoder.layers.0", ColorLayer), list[str]()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, module in (("mutual", first.mutual), ("cross", first.cross))
    ]
    with torch.inference_mode():
        network(grey(1, 1, 32, 32))
    for hook in hooks:
        hook.remove()
    assert order == ["cross", "mutual"]


def test_positions_are_sines_and_cosines() -> None:
    height, width, channels = 3, 5, 16
    codes = sine_positions(height, width, channels, torch.device("cpu"))
    assert codes.shape == (15, 16)
    for row in range(height):
        for column in range(width):
            expected = []
            for share in ((row + 1) / height, (column + 1) / width):
                angles = [2 * math.pi * share / 10_000 ** (k / 4) for k in range(4)]
                expected += [*map(math.sin, angles), *map(math.cos, angles)]
            found = codes[row * width + column]
            torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


def test_pixels_of_a_block_start_alike() -> None:
    network = small(2)
    first = layer(network, "pixel_decoder.0.up.0", nn.Conv2d)
    for convolution, area in ((first, 4), (network.last, 16)):
        blocks = convolution.weight.unflatten(0, (-1, area))
        assert torch.equal(blocks, blocks[:, :1].expand_as(blocks))
        assert not torch.equal(blocks[0], blocks[1])


def test_starts_almost_grey() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        assert small(2)(grey(2, 1, 64, 64)).abs().max() < 0.3


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    network = small(2)
    network(grey(2, 1, 64, 64)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert gradient(network.color_decoder.queries).abs().sum() > 0


def test_config_rebuilds_it(network: DDColor) -> None:
    config = network.config()
    assert config == {"name": "ddcolor", **SMALL, "folded": False}
    again = build_network(config.pop("name"), 5, **config).eval()
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(grey(1, 1, 32, 64)), network(grey(1, 1, 32, 64)))


@pytest.mark.parametrize("sizes", [{"width": 0}, {"depth": 9.0}])
def test_sizes_are_checked(sizes: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=f"ddcolor: {next(iter(sizes))}"):
        build_network("ddcolor", 2, **sizes)
