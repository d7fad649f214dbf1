import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import rgb2lab
from torch import nn

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import ModelError
from chromaflow.models import Colorizer, build_network
from chromaflow.models.networks.richart import RichartClassifier
from tests.support.layers import layer


def test_has_as_many_parameters_as_published() -> None:
    with torch.device("meta"):
        network = RichartClassifier(9)
        assert sum(p.numel() for p in network.parameters()) == 25 * 100 + 100 + 100 * 9 + 9
        for batch in (1, 2):
            assert network(torch.zeros(batch, 1, 224, 224)).shape == (batch, 9, 224, 224)


def test_is_a_perceptron_on_each_patch() -> None:
    torch.manual_seed(0)
    network = RichartClassifier(4, width=0.2).eval()
    lightness = rgb2lab(skimage.data.chelsea()[100:133, 100:140])[..., 0]
    with torch.inference_mode():
        logits = network(torch.from_numpy(lightness)[None, None].float())[0].numpy()
    hidden, output = (layer(network, f"layers.{n}", nn.Conv2d) for n in (0, 2))
    assert hidden.bias is not None
    assert output.bias is not None
    first, second = (part.weight.detach().numpy().squeeze() for part in (hidden, output))
    padded = np.pad(lightness, 2, mode="edge") / 100
    for y, x in [(0, 0), (32, 39), (0, 20), (17, 3), (32, 0)]:
        patch = padded[y : y + 5, x : x + 5].reshape(-1)
        units = np.maximum(first.reshape(-1, 25) @ patch + hidden.bias.detach().numpy(), 0)
        expected = second @ units + output.bias.detach().numpy()
        np.testing.assert_allclose(logits[:, y, x], expected, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (37, 51)])
def test_any_size_is_colored(size: tuple[int, int]) -> None:
    codebook = build_codebook("som", neurons=4)
    model = Colorizer(build_network("richart", codebook.channels, width=0.1), codebook).eval()
    with torch.inference_mode():
        assert model.predict_ab(torch.full((2, 1, *size), 40.0)).shape == (2, 2, *size)


def test_config_builds_it_again() -> None:
    config = RichartClassifier(9, width=0.5).config()
    assert config == {"name": "richart", "width": 0.5}
    assert build_network(channels=9, **config).config() == config


@pytest.mark.parametrize("width", [0, 9, "1"])
def test_width_is_checked(width: object) -> None:
    with pytest.raises(ModelError, match=r"richart: width"):
        RichartClassifier(9, width=width)  # type: ignore[arg-type]
