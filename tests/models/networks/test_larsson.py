import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chromaflow.errors import ModelError
from chromaflow.models.backbones.timm import VggMaps
from chromaflow.models.networks.larsson import PLACES, Larsson

LITE = "tf_efficientnet_lite0"
# VGG16: thirteen convolutions, fc6 and fc7, channels out.
VGG = (64, 64, 128, 128, 256, 256, 256, *(512,) * 6, 4096, 4096)


def lightness(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.manual_seed(0)) * 100


@pytest.fixture(scope="module")
def network() -> Larsson:
    torch.manual_seed(0)
    network = Larsson(64, width=0.125, backbone=LITE)
    for _ in range(3):
        network.outputs(lightness(2, 1, 64, 96))
    return network.eval()


def test_hypercolumns_and_parameters_are_as_published() -> None:
    # Published: 16 maps of 12,417 channels and a layer of 1024; the rest is their sum.
    assert 1 + sum(VGG) == 12_417
    inputs, expected = 3, 0
    for number, outputs in enumerate(VGG):
        kernel = 7 if number == 13 else 1 if number == 14 else 3
        expected += kernel * kernel * inputs * outputs + outputs
        inputs = outputs
    expected += 12_417 * 1024 + 1024 + 1024 * 64 + 64
    with torch.device("meta"):
        network = Larsson(64)
        assert network(torch.empty(1, 1, 224, 224)).shape == (1, 64, 56, 56)
    assert network.sizes == [1, *VGG]
    assert network.backbone.strides == (1, 1, 2, 2, *(4,) * 3, *(8,) * 3, *(16,) * 3, 32, 32)
    assert sum(p.numel() for p in network.parameters()) == expected == 147_042_176


def test_every_map_of_a_vgg_network_is_given() -> None:
    torch.manual_seed(0)
    maps = VggMaps("vgg11", pretrained=False, mlp_ratio=1 / 128).eval()
    levels = timm.create_model("vgg11", features_only=True)
    names = {name.replace(".", "_"): tensor for name, tensor in maps.body.state_dict().items()}
    levels.load_state_dict({n: names[n.replace(".", "_")] for n in levels.state_dict()})
    grey = lightness(1, 1, 224, 224)
    with torch.inference_mode():
        given = maps(grey)
        rgb = (grey / 100 - maps.get_buffer("mean")) / maps.get_buffer("deviation")
        *strided, _ = levels.eval()(rgb)
        top = maps.body.forward_features(rgb)
        # timm's own layers see the 7×7 of a picture of 224 at once: the middle of ours.
        maps.body.pre_logits.fc1.padding = (0, 0)
        fc7 = maps.body.pre_logits(top)
    assert tuple(x.shape[1] for x in given) == maps.channels
    assert tuple(224 // x.shape[2] for x in given) == maps.strides
    for level, number in zip(strided, (0, 1, 3, 5, 7), strict=True):
        torch.testing.assert_close(given[number], level)
    torch.testing.assert_close(given[-1][:, :, 3:4, 3:4], fc7)


@settings(max_examples=10)
@given(st.lists(st.integers(0, 16 * 24 - 1), min_size=1, max_size=20))
def test_places_are_pixels_of_the_dense_output(network: Larsson, places: list[int]) -> None:
    grey = lightness(2, 1, 64, 96)
    chosen = torch.tensor([places, places[::-1]])
    with torch.inference_mode():
        dense = network(grey).flatten(2)
        sparse = network.at(grey, chosen)
    expected = dense.gather(2, chosen[:, None].expand(-1, 64, -1))[:, :, None]
    torch.testing.assert_close(sparse, expected, atol=1e-4, rtol=1e-4)


def test_training_sees_places_drawn_by_the_global_generator() -> None:
    network = Larsson(64, width=0.125, backbone=LITE).train()
    grey = lightness(2, 1, 64, 96)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs = network.outputs(grey)
        assert outputs.logits.shape == (2, 64, 1, PLACES)
        assert outputs.places is not None
        assert outputs.places.shape == (2, PLACES)
        assert int(outputs.places.min()) >= 0
        assert int(outputs.places.max()) < 16 * 24
        drawn.append(outputs.places)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0][0], drawn[0][1])
    outputs.logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_in_evaluation_all_pixels_are_given(network: Larsson) -> None:
    grey = lightness(1, 1, 32, 64)
    with torch.inference_mode():
        outputs = network.outputs(grey)
        assert outputs.places is None
        torch.testing.assert_close(outputs.logits, network(grey))


@pytest.mark.parametrize("width", [0, -1, 8.5])
def test_width_is_checked(width: float) -> None:
    with pytest.raises(ModelError, match=r"set model\.network\.width"):
        Larsson(64, width=width)
