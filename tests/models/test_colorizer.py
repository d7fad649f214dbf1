import importlib
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chromaflow.color.codebooks.registry import CODEBOOKS, build_codebook
from chromaflow.errors import ModelError
from chromaflow.models import NETWORKS, Colorizer, Network, build_network, network_sizes
from chromaflow.models.networks.base import Hints
from chromaflow.refine import REFINEMENTS
from chromaflow.settings import Model
from chromaflow.settings.base import kinds_of
from chromaflow.settings.system import Refinement


class Block(Network):
    """Says one bin for each 4×4 block, chosen by the block's lightness."""

    name = "block"
    stride = 4
    multiple = 32

    def config(self) -> dict[str, Any]:
        return {"name": self.name}

    def forward(self, lightness: Tensor, guide: object = None) -> Tensor:  # noqa: ARG002
        assert lightness.shape[2] % 32 == lightness.shape[3] % 32 == 0
        bins = nn.functional.avg_pool2d(lightness, 4).round().long()
        return 100 * nn.functional.one_hot(bins[:, 0], 313).movedim(-1, 1).float()


@pytest.fixture(scope="module")
def model() -> Colorizer:
    return Colorizer(Block(), build_codebook("grid313")).eval()


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 100), st.integers(8, 100))
def test_color_comes_at_the_size_of_the_input(model: Colorizer, height: int, width: int) -> None:
    ab = model.predict_ab(torch.full((1, 1, height, width), 40.0))
    center = model.codebook.centers[40]  # type: ignore[index]
    assert ab.shape == (1, 2, height, width)
    torch.testing.assert_close(ab, center[None, :, None, None].expand_as(ab))


def test_filling_up_does_not_move_the_color(model: Colorizer) -> None:
    lightness = torch.rand(1, 1, 64, 64, generator=torch.manual_seed(0)) * 100
    whole = model.predict_ab(lightness)
    part = model.predict_ab(lightness[..., :56, :48])
    torch.testing.assert_close(part[..., :52, :44], whole[..., :52, :44])


def test_each_output_pixel_is_its_block(model: Colorizer) -> None:
    lightness = torch.zeros(1, 1, 32, 32)
    lightness[..., 8:12, 20:24] = 77
    ab = model.color(model(lightness))[..., 9:11, 21:23].mean(dim=(2, 3))[0]
    centers: Tensor = model.codebook.centers  # type: ignore[assignment]
    # The middle of a block is enlarged from it and, by an eighth a side, from its neighbours.
    expected = centers[77] * 0.875**2 + centers[0] * (1 - 0.875**2)
    torch.testing.assert_close(ab, expected)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 64, 64)])
def test_other_shapes_are_refused(model: Colorizer, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="lightness must be"):
        model.predict_ab(torch.zeros(shape))


def test_unknown_names_are_told() -> None:
    with pytest.raises(ModelError, match="did you mean efficientnet_lite0"):
        build_network("efficientnet", 3)
    with pytest.raises(ModelError, match="has no size hight; it has backbone"):
        build_network("efficientnet_lite0", 3, hight=2)


def test_settings_name_what_is_registered() -> None:
    fields = Model.model_fields
    assert sorted(kinds_of(fields["network"].annotation)) == sorted(NETWORKS)
    assert sorted(kinds_of(fields["codebook"].annotation)) == sorted(CODEBOOKS)
    assert sorted(get_args(Refinement)) == sorted(REFINEMENTS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_takes_the_sizes_that_its_settings_have(name: str) -> None:
    assert importlib.import_module(f"chromaflow.models.networks.{name}").NETWORK.name == name
    sizes = Model.model_validate(
        {"network": name, "codebook": "regression"}
    ).network.model_dump().keys() - {"name"}
    # The model folder tells of the first, and the data of the second.
    assert network_sizes(name) - {"folded", "scenes"} == sizes


def test_a_guide_that_the_network_cannot_follow_is_told(model: Colorizer) -> None:
    hints = Hints(torch.zeros(1, 3, 32, 32), torch.zeros(1, 316))
    with pytest.raises(ModelError, match="block takes no hints"):
        model.predict_ab(torch.zeros(1, 1, 32, 32), hints)


def test_another_refinement_may_be_asked_for() -> None:
    own = Colorizer(Block(), build_codebook("grid313"), refine="guided").eval()
    plain = Colorizer(Block(), build_codebook("grid313")).eval()
    lightness = torch.rand(1, 1, 64, 64, generator=torch.manual_seed(0)) * 100
    refined = own.predict_ab(lightness)
    assert torch.equal(own.predict_ab(lightness, refine="none"), plain.predict_ab(lightness))
    assert torch.equal(plain.predict_ab(lightness, refine="guided"), refined)
    assert not torch.equal(plain.predict_ab(lightness), refined)


def test_channels_lie_together_in_memory() -> None:
    torch.manual_seed(0)
    model = Colorizer(
        build_network("efficientnet_lite0", 313, width=0.0625), build_codebook("grid313")
    )
    logits = model(torch.rand(1, 1, 64, 64) * 100)
    assert logits.is_contiguous(memory_format=torch.channels_last)
