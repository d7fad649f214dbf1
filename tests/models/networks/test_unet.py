import pytest
import torch
from torch import Tensor, nn

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import ModelError
from chromaflow.models import Colorizer, build_network
from chromaflow.models.networks.unet import UNet


def test_has_as_many_parameters_as_published() -> None:
    # 54.414 M are published from 3 to 3 channels; here lightness alone comes in.
    with torch.device("meta"):
        assert sum(p.numel() for p in UNet(3).parameters()) + 2 * 64 * 16 == 54_413_955
        assert sum(p.numel() for p in UNet(2).parameters()) == 54_409_858


def test_layers_are_those_published() -> None:
    with torch.device("meta"):
        network = UNet(2)
        sizes: list[tuple[int, ...]] = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[1:3])))
        assert network(torch.zeros(2, 1, 256, 256)).shape == (2, 2, 256, 256)
    down = [(64, 128), (128, 64), (256, 32), (512, 16), (512, 8), (512, 4), (512, 2), (512, 1)]
    up = [(512, 2), (512, 4), (512, 8), (512, 16), (256, 32), (128, 64), (64, 128), (2, 256)]
    assert sizes == down + up
    kinds = [[type(layer) for layer in part] for part in (*network.down, *network.up)]
    assert [nn.BatchNorm2d in kind for kind in kinds] == [True] * 6 + [False] + [True] * 7
    assert [nn.Dropout in kind for kind in kinds] == [False] * 7 + [True] * 3 + [False] * 4


class Nested(nn.Module):
    """The same as a recursion: a level is what goes down, all below it, and what goes up again."""

    def __init__(self, network: UNet, level: int) -> None:
        super().__init__()
        count = len(network.down)
        self.down = network.first if level == 0 else network.down[level - 1]
        self.below = Nested(network, level + 1) if level < count else None
        self.up = network.last if level == 0 else network.up[count - level]

    def forward(self, x: Tensor) -> Tensor:
        inside = self.down(x)
        if self.below is not None:
            inside = torch.cat([self.below(inside), inside], dim=1)
        out: Tensor = self.up(inside)
        return out


def test_joins_features_of_one_size() -> None:
    torch.manual_seed(0)
    network = UNet(2, width=0.125, depth=0.5).eval()
    lightness = torch.rand(2, 1, 32, 48) * 100
    with torch.inference_mode():
        expected = Nested(network, 0)(lightness / 50 - 1)
        assert expected.std() > 0
        assert torch.equal(network(lightness), expected)


def test_drops_features_only_in_training() -> None:
    torch.manual_seed(0)
    network = UNet(2, width=0.125, depth=0.5)
    lightness = torch.rand(2, 1, 32, 32) * 100
    assert not torch.equal(network(lightness), network(lightness))
    network.eval()
    assert torch.equal(network(lightness), network(lightness))


@pytest.mark.parametrize(
    ("depth", "multiple"), [(0.01, 2), (0.25, 4), (0.625, 32), (1, 256), (1.125, 512)]
)
def test_depth_is_the_number_of_levels(depth: float, multiple: int) -> None:
    network = UNet(2, width=0.01, depth=depth)
    assert network.multiple == multiple
    # One image that ends in a single pixel can be trained on, too.
    assert network(torch.rand(1, 1, multiple, multiple) * 100).shape[2:] == (multiple, multiple)


@pytest.mark.parametrize("size", [(224, 224), (37, 51)])
@pytest.mark.parametrize("batch", [1, 2])
def test_any_size_is_colored(batch: int, size: tuple[int, int]) -> None:
    codebook = build_codebook("regression")
    model = Colorizer(build_network("unet", codebook.channels, width=0.125), codebook).eval()
    with torch.inference_mode():
        assert model.predict_ab(torch.full((batch, 1, *size), 40.0)).shape == (batch, 2, *size)


def test_config_builds_it_again() -> None:
    config = UNet(2, width=0.125, depth=0.5).config()
    assert build_network(channels=2, **config).config() == config


@pytest.mark.parametrize("size", ["width", "depth"])
def test_sizes_are_checked(size: str) -> None:
    with pytest.raises(ModelError, match=f"unet: {size}"):
        UNet(2, **{size: 0})
