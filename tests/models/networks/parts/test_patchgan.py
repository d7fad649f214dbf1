import pytest
import torch
from torch import nn

from chromaflow.errors import ModelError
from chromaflow.models.networks.parts.patchgan import PatchGAN
from tests.support.layers import layer


def test_has_as_many_parameters_as_published() -> None:
    # 2.769 M are published on two pictures in color, 6 channels, of which lightness and ab are 3.
    with torch.device("meta"):
        count = sum(p.numel() for p in PatchGAN().parameters())
    assert count + (6 - 3) * 64 * 4 * 4 == 2_768_705


@pytest.mark.parametrize(("side", "logits"), [(256, 30), (100, 10), (70, 6), (33, 2), (32, 2)])
def test_judges_a_grid_of_patches(side: int, logits: int) -> None:
    with torch.device("meta"):
        judged = PatchGAN()(torch.zeros(2, 1, side, side), torch.zeros(2, 2, side, side))
    assert judged.shape == (2, 1, logits, logits)


def test_each_logit_sees_70_by_70() -> None:
    torch.manual_seed(0)
    network = PatchGAN(0.125).eval()
    lightness = torch.rand(1, 1, 160, 144, requires_grad=True)
    network(lightness, torch.rand(1, 2, 160, 144))[0, 0, 8, 7].backward()
    assert lightness.grad is not None
    rows, columns = lightness.grad[0, 0].nonzero().unbind(1)
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == 70


def test_judges_color_by_its_lightness() -> None:
    torch.manual_seed(0)
    network = PatchGAN(0.125).eval()
    lightness, ab = torch.rand(2, 1, 64, 64) * 100, torch.randn(2, 2, 64, 64) * 20
    judged = network(lightness, ab)
    assert not torch.allclose(judged, network(lightness.flip(0), ab))
    assert not torch.allclose(judged, network(lightness, ab.flip(0)))


def test_normalizes_all_but_the_first_convolution() -> None:
    network = PatchGAN(0.125)
    kinds = [type(layer) for layer in network.layers if not isinstance(layer, nn.LeakyReLU)]
    between = [nn.Conv2d, nn.BatchNorm2d] * 3
    assert kinds == [nn.Conv2d, *between, nn.Conv2d]


def test_starts_as_published() -> None:
    torch.manual_seed(0)
    weights = layer(PatchGAN(0.5), "layers.8", nn.Conv2d).weight.detach()
    assert abs(float(weights.std()) - 0.02) < 1e-4
    assert abs(float(weights.mean())) < 1e-4


def test_width_is_checked() -> None:
    with pytest.raises(ModelError, match=r"patchgan: width"):
        PatchGAN(0)
