import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, relu

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import ModelError
from chromaflow.models import Colorizer, build_network
from chromaflow.models.networks.vcnn import PatchwiseVCNN
from tests.support.layers import layer, layers


def test_parameters_and_shapes() -> None:
    plane = 121 * 64 + 64 + 2 * (16 * 64 * 64 + 64) + 9 * 64 * 64 + 64 + 64 + 1
    with torch.device("meta"):
        network = PatchwiseVCNN(2)
        assert sum(p.numel() for p in network.parameters()) == 2 * plane
        for batch in (1, 2):
            assert network(torch.zeros(batch, 1, 224, 224)).shape == (batch, 2, 224, 224)


def test_colors_the_middle_of_a_patch_as_published() -> None:
    # 64×64 of grey make 56×56 of color: the 11×11 keeps the size, the others do not.
    torch.manual_seed(0)
    network = PatchwiseVCNN(2, width=0.125).eval()
    patch = torch.rand(1, 1, 64, 64) * 100
    with torch.inference_mode():
        whole = network(patch)
        planes = layers(network, "planes", nn.Sequential)
        for plane, logits in zip(planes, whole.unbind(1), strict=True):
            convolutions = [layer(plane, str(n), nn.Conv2d) for n in range(0, 9, 2)]
            first, second, third, fourth, last = convolutions
            x = relu(conv2d(patch / 50 - 1, first.weight, first.bias, padding=5))
            for part in (second, third, fourth):
                x = relu(conv2d(x, part.weight, part.bias))
            x = conv2d(x, last.weight, last.bias)
            assert x.shape == (1, 1, 56, 56)
            # Away from the border that the published network pads with mean grey.
            inner = x[0, 0, 5:-5, 5:-5]
            torch.testing.assert_close(inner, logits[0, 9:-9, 9:-9], atol=1e-5, rtol=0)


def test_each_pixel_sees_the_19_by_19_around_it() -> None:
    torch.manual_seed(0)
    network = PatchwiseVCNN(2, width=0.125)
    lightness = (torch.rand(1, 1, 40, 40) * 100).requires_grad_()
    network(lightness)[0, :, 20, 18].sum().backward()
    assert lightness.grad is not None
    rows, columns = lightness.grad[0, 0].nonzero().unbind(1)
    found = [int(bound) for places in (rows, columns) for bound in (places.min(), places.max())]
    assert found == [11, 29, 9, 27]


def test_planes_share_nothing() -> None:
    network = PatchwiseVCNN(5, width=0.125)
    lightness = torch.rand(1, 1, 32, 32) * 100
    before = network(lightness).detach()
    bias = layer(network, "planes.1.8", nn.Conv2d).bias
    assert bias is not None
    nn.init.ones_(bias)
    changed = (network(lightness) != before).flatten(2).any(dim=2)
    assert changed.tolist() == [[False, False, False, True, True]]


@pytest.mark.parametrize("size", [(1, 1), (37, 51)])
def test_any_size_is_colored(size: tuple[int, int]) -> None:
    codebook = build_codebook("regression")
    model = Colorizer(build_network("vcnn", codebook.channels, width=0.125), codebook).eval()
    with torch.inference_mode():
        assert model.predict_ab(torch.full((2, 1, *size), 40.0)).shape == (2, 2, *size)


def test_config_builds_it_again() -> None:
    config = PatchwiseVCNN(2, width=0.125).config()
    assert build_network(channels=2, **config).config() == config


def test_width_is_checked() -> None:
    with pytest.raises(ModelError, match=r"vcnn: width"):
        PatchwiseVCNN(2, width=0)
