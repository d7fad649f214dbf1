from pathlib import Path

import pytest
import skimage.data
import torch
import torch.nn.functional as F
from skimage.color import rgb2lab
from skimage.transform import resize
from torch import Tensor

from chromaflow import settings
from chromaflow.errors import ModelError
from chromaflow.models import build_network
from chromaflow.models.networks.koalarization import Koalarization
from chromaflow.project.paths import Project

ROOT = Path(__file__).resolve().parents[3]
LITE = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def small() -> Koalarization:
    torch.manual_seed(0)
    return Koalarization(2, width=0.125, backbone=LITE, weights="published").eval()


def grey(name: str, height: int, width: int) -> Tensor:
    photograph = resize(getattr(skimage.data, name)(), (height, width), anti_aliasing=True)
    return torch.from_numpy(rgb2lab(photograph)[None, None, ..., 0]).float()


def test_published_size() -> None:
    recipe = settings.load(Project(ROOT), recipe="koalarization")
    assert (recipe.model.network.width, recipe.model.codebook.name) == (1, "regression")
    with torch.device("meta"):
        network = build_network("koalarization", 2)
        assert isinstance(network, Koalarization)
        assert network.eval()(torch.empty(1, 1, 224, 224)).shape == (1, 2, 112, 112)
        assert network.encoder(torch.empty(1, 1, 224, 224)).shape == (1, 256, 28, 28)
    table = [(1, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    table += [(512, 256), (256, 128), (128, 64), (64, 64), (64, 32), (32, 2)]
    weights = sum(9 * before * after + after for before, after in table)
    weights += (256 + 1000) * 256 + 256
    own = [p for name, p in network.named_parameters() if not name.startswith("backbone.")]
    assert sum(p.numel() for p in own) == weights == 6_573_794
    # Inception-ResNet-v2 without its auxiliary classifier.
    assert sum(p.numel() for p in network.backbone.parameters()) == 55_843_464


def test_the_vector_is_what_the_classifier_says(small: Koalarization) -> None:
    said: list[Tensor] = []
    hook = small.fusion.register_forward_hook(lambda _, given, __: said.append(given[1]))
    with torch.inference_mode():
        small(grey("chelsea", 96, 128))
    hook.remove()
    assert said[0].shape == (1, 1000)
    assert int(said[0].argmax()) in range(281, 286), "cats of ImageNet"


def test_what_the_classifier_says_decides_everywhere(small: Koalarization) -> None:
    lightness = grey("coffee", 64, 96)
    features = small.encoder(small.see(lightness))
    with torch.inference_mode():
        one, other = (small.fusion(features, torch.full((1, 1000), x)) for x in (0.0, 1.0))
    change = (other - one).flatten(2)
    torch.testing.assert_close(change, change[..., :1].expand_as(change), atol=1e-4, rtol=0)
    assert change.abs().max() > 0.01


def test_half_the_size_learns_what_the_whole_would() -> None:
    # The published network repeats each pixel once more before it is compared.
    generator = torch.manual_seed(0)
    output = torch.randn(2, 2, 5, 6, generator=generator, requires_grad=True)
    truth = torch.randn(2, 2, 10, 12, generator=generator)
    whole = F.mse_loss(F.interpolate(torch.tanh(output), scale_factor=2), truth)
    half = F.mse_loss(torch.tanh(output), F.avg_pool2d(truth, 2))
    gradients = [torch.autograd.grad(loss, output)[0] for loss in (whole, half)]
    torch.testing.assert_close(*gradients)


def test_a_frozen_classifier_gets_no_gradient_and_all_else_does() -> None:
    torch.manual_seed(0)
    network = Koalarization(2, width=0.125, backbone=LITE)
    network.backbone.requires_grad_(requires_grad=False).eval()
    network(grey("rocket", 32, 64)).square().sum().backward()
    for name, parameter in network.named_parameters():
        learns = parameter.grad is not None and bool(parameter.grad.any())
        assert learns != name.startswith("backbone."), name


def test_config_builds_the_same_network(small: Koalarization) -> None:
    config = small.config()
    assert config == {
        "name": "koalarization",
        "width": 0.125,
        "backbone": LITE,
        "folded": True,
    }
    again = build_network(config.pop("name"), 2, **config)
    again.load_state_dict(small.state_dict())
    lightness = grey("astronaut", 40, 56)
    with torch.inference_mode():
        assert torch.equal(again.eval()(lightness), small(lightness))


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(ModelError, match="width"):
        Koalarization(2, width=9, backbone=LITE)
    with pytest.raises(ModelError, match="did you mean"):
        Koalarization(2, backbone="inception_resnet_v3")
