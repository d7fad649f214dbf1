import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import rgb2lab
from torch import Tensor, nn

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import ModelError
from chromaflow.models import Colorizer, build_network
from chromaflow.models.networks.cheng import DeepColorization

LITE = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def network() -> DeepColorization:
    torch.manual_seed(0)
    return DeepColorization(2, backbone=LITE, width=0.5).eval()


def _photograph() -> Tensor:
    lightness = rgb2lab(skimage.data.coffee()[100:164, 200:296])[..., 0]
    return torch.from_numpy(lightness).float()[None, None]


def test_perceptron_is_as_large_as_published() -> None:
    with torch.device("meta"):
        network = DeepColorization(2)
        parts = (network.patch, network.texture, network.category, network.rest)
        count = sum(p.numel() for part in parts for p in part.parameters())
        assert network.patch.out_channels == 64
        assert count == 128 * 64 + 64 + 2 * (64 * 64 + 64) + 64 * 2 + 2
        for batch in (1, 2):
            assert network(torch.zeros(batch, 1, 224, 224)).shape == (batch, 2, 224, 224)


def test_is_a_perceptron_on_the_descriptor_of_each_pixel(network: DeepColorization) -> None:
    lightness = _photograph()
    with torch.inference_mode():
        logits = network(lightness)[0].numpy()
        shares = torch.nn.functional.interpolate(
            network.categories(lightness), scale_factor=8, mode="bilinear"
        )[0].numpy()
        texture = network.daisy(lightness / 100)[0].numpy()
    padded = np.pad(lightness[0, 0].numpy(), 3, mode="edge") / 25 - 2
    first = (network.patch, network.texture, network.category)
    rest = [layer for layer in network.rest if isinstance(layer, nn.Conv2d)]
    matrices = [
        np.concatenate([layer.weight.detach().flatten(1).numpy() for layer in first], axis=1),
        *(layer.weight.detach().flatten(1).numpy() for layer in rest),
    ]
    biases = [
        layer.bias.detach().numpy() for layer in (network.patch, *rest) if layer.bias is not None
    ]
    for y, x in [(0, 0), (63, 95), (20, 50), (33, 2)]:
        patch = padded[y : y + 7, x : x + 7].reshape(-1)
        value = np.concatenate([patch, texture[:, y, x] * 8**0.5, shares[:, y, x] * 47**0.5])
        assert value.shape == (128,)
        for number, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
            value = matrix @ (np.maximum(value, 0) if number else value) + bias
        np.testing.assert_allclose(logits[:, y, x], value, atol=1e-5)


def test_parts_of_the_descriptor_are_of_one_size(network: DeepColorization) -> None:
    lightness = _photograph()
    with torch.inference_mode():
        shares = network.categories(lightness)
        texture = network.daisy(lightness / 100) * 8**0.5
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(1, 8, 12))
    assert float(texture.square().mean()) == pytest.approx(1)
    assert 0.3 < float((lightness / 25 - 2).square().mean()) < 3


@pytest.mark.parametrize("size", [(224, 224), (37, 51)])
def test_any_size_is_colored(network: DeepColorization, size: tuple[int, int]) -> None:
    model = Colorizer(network, build_codebook("regression")).eval()
    with torch.inference_mode():
        assert model.predict_ab(torch.full((2, 1, *size), 40.0)).shape == (2, 2, *size)


def test_learns_beside_a_backbone_at_rest() -> None:
    network = DeepColorization(2, backbone=LITE, width=0.125)
    network.backbone.requires_grad_(requires_grad=False)
    network(_photograph()).square().mean().backward()
    learned = {name for name, p in network.named_parameters() if p.grad is not None}
    assert learned == {n for n, _ in network.named_parameters() if not n.startswith("backbone.")}


@pytest.mark.parametrize(("depth", "layers"), [(0.01, 1), (1, 3), (2, 6)])
def test_depth_is_the_number_of_hidden_layers(depth: float, layers: int) -> None:
    with torch.device("meta"):
        rest = DeepColorization(2, backbone=LITE, depth=depth).rest
    assert sum(isinstance(layer, torch.nn.ReLU) for layer in rest) == layers


def test_config_builds_it_again(network: DeepColorization) -> None:
    again = build_network(channels=2, **network.config())
    assert again.config() == network.config()
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize("size", ["width", "depth"])
def test_sizes_are_checked(size: str) -> None:
    with pytest.raises(ModelError, match=f"cheng: {size}"):
        build_network("cheng", 2, backbone=LITE, **{size: 0})
