import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow import settings
from chromaflow.errors import ModelError
from chromaflow.models import build_network
from chromaflow.models.networks.iizuka import Iizuka, _Normalization
from chromaflow.project.paths import Project
from tests.support.layers import layer

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def small() -> Iizuka:
    torch.manual_seed(0)
    return Iizuka(2, width=0.125, scenes=4).eval()


def grey(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.manual_seed(1)) * 100


def test_published_size() -> None:
    recipe = settings.load(Project(ROOT), recipe="iizuka")
    assert recipe.training.losses.model_dump() == {
        "l2": {"weight": 0.25},
        "scene": {"weight": pytest.approx(1 / 300)},
    }
    assert (recipe.training.batch, recipe.training.optimizer) == (128, "adadelta")
    # The 205 scenes of Places.
    with torch.device("meta"):
        network = build_network("iizuka", 2, scenes=205)
        logits, _, extras = network.outputs(torch.empty(2, 1, 224, 224))
    assert logits.shape == (2, 2, 112, 112)
    assert extras["scene"].shape == (2, 205)
    convolutions = [(1, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)]
    convolutions += [(512, 512), (512, 256)]
    convolutions += [(512, 512)] * 4
    convolutions += [(256, 128), (128, 64), (64, 64), (64, 32), (32, 2)]
    dense = [(7 * 7 * 512, 1024), (1024, 512), (512, 256), (2 * 256, 256), (512, 256), (256, 205)]
    table = sum((9 * a + 1) * b for a, b in convolutions) + sum((a + 1) * b for a, b in dense)
    assert table == 42_353_839
    # Normalization has two numbers a channel where the table has a bias; the fusion has both.
    more = sum(b for _, b in convolutions[:-1]) + sum(b for _, b in dense[:-1]) + 256
    assert sum(p.numel() for p in network.parameters()) == table + more == 42_360_847


def test_global_features_see_the_picture_at_224(small: Iizuka) -> None:
    seen: list[tuple[int, ...]] = []
    first = small.low_level[0][0]  # type: ignore[index]
    hook = first.register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    with torch.inference_mode():
        small(grey(1, 1, 64, 96))
        small(grey(1, 1, 224, 224))
    hook.remove()
    # The last one is shared by both branches, as published.
    assert seen == [(1, 1, 64, 96), (1, 1, 224, 224), (1, 1, 224, 224)]


def test_statistics_are_those_of_the_pictures_own_size() -> None:
    torch.manual_seed(0)
    network, lightness = Iizuka(2, width=0.125), grey(3, 1, 32, 48)
    alone = copy.deepcopy(network.low_level)
    network(lightness)
    alone(lightness / 50 - 1)
    for kept, expected in zip(network.low_level.buffers(), alone.buffers(), strict=True):
        assert torch.equal(kept, expected)


def test_vectors_are_normalized_by_what_evaluation_will_know() -> None:
    normalization = _Normalization(5)
    with torch.no_grad():
        normalization.weight.uniform_(0.5, 2)
        normalization.bias.uniform_(-1, 1)
    batch = torch.randn(8, 5, generator=torch.manual_seed(0)) * 3 + 1
    trained = normalization(batch)
    centered = (batch - batch.mean(dim=0)) / batch.std(dim=0)
    expected = centered * normalization.weight + normalization.bias
    torch.testing.assert_close(trained, expected, atol=1e-5, rtol=0)
    for _ in range(200):
        normalization(batch)
    torch.testing.assert_close(normalization.eval()(batch), trained, atol=1e-5, rtol=0)


def test_layer_by_layer(small: Iizuka) -> None:
    lightness = grey(2, 1, 64, 96)

    def dense(name: str, x: Tensor) -> Tensor:
        linear = layer(small, f"{name}.0", nn.Linear)
        normalization = small.get_submodule(f"{name}.1")
        return F.relu(normalization(x @ linear.weight.T))

    with torch.inference_mode():
        seen = lightness / 50 - 1
        squeezed = F.interpolate(seen, (224, 224), mode="bilinear", antialias=True)
        whole = small.whole[0](small.low_level(squeezed)).flatten(1)
        whole = dense("whole.3", dense("whole.2", whole))
        places = small.mid_level(small.low_level(seen))
        vector = dense("to_fusion", whole)[:, :, None, None].expand(-1, -1, *places.shape[2:])
        both = torch.cat([places, vector], dim=1)
        fused = F.relu(small.normalization(nn.Conv2d.forward(small.fusion, both)))
        expected = small.decoder(fused)
        last = layer(small, "scene.1", nn.Linear)
        scenes = dense("scene.0", whole) @ last.weight.T + last.bias
        logits, places_of_logits, extras = small.outputs(lightness)
        torch.testing.assert_close(small(lightness), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(extras["scene"], scenes, atol=1e-5, rtol=1e-4)
    assert places_of_logits is None
    assert (extras["scene"].shape, logits.shape) == ((2, 4), (2, 2, 32, 48))


@pytest.mark.parametrize("scenes", [0, 1])
def test_without_scenes_there_is_nothing_to_tell(scenes: int) -> None:
    network = Iizuka(2, width=0.125, scenes=scenes)
    assert network.outputs(grey(2, 1, 32, 32)).extras == {}
    assert not [name for name, _ in network.named_parameters() if name.startswith("scene")]


def test_every_layer_learns_from_color_and_scene() -> None:
    torch.manual_seed(0)
    network = Iizuka(2, width=0.125, scenes=3)
    logits, _, extras = network.outputs(grey(3, 1, 32, 32))
    (logits.square().sum() + F.cross_entropy(extras["scene"], torch.arange(3))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name


def test_one_image_cannot_train(small: Iizuka) -> None:
    with pytest.raises(ModelError, match=r"iizuka(.|\n)*training\.batch"):
        Iizuka(2, width=0.125)(grey(1, 1, 32, 32))
    with torch.inference_mode():
        assert small(grey(1, 1, 32, 32)).shape == (1, 2, 16, 16)


def test_config_builds_the_same_network(small: Iizuka) -> None:
    assert small.config() == {"name": "iizuka", "width": 0.125, "scenes": 4}
    again = build_network("iizuka", 2, width=0.125, scenes=4)
    again.load_state_dict(small.state_dict())


@pytest.mark.parametrize("scenes", [-1, 1.5, "4", True])
def test_scenes_that_cannot_be(scenes: object) -> None:
    with pytest.raises(ModelError, match="scenes"):
        Iizuka(2, scenes=scenes)  # type: ignore[arg-type]
