import pytest
import skimage.data
import torch
from skimage.color import rgb2lab
from torch import Tensor

from chromaflow.models.networks.base import Reference
from chromaflow.models.networks.propagation import Propagation
from chromaflow.training.guides.draw import draw_guide
from chromaflow.training.guides.references import draw_reference


def photographs(side: int = 96) -> tuple[Tensor, Tensor]:
    cuts = [getattr(skimage.data, n)()[60 : 60 + side, 80 : 80 + side] for n in NAMES]
    planes = torch.stack([torch.from_numpy(rgb2lab(cut)) for cut in cuts]).float()
    return planes.permute(0, 3, 1, 2)[:, :1], planes.permute(0, 3, 1, 2)[:, 1:]


NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def test_guides_the_network() -> None:
    network = Propagation(2, width=0.0625)
    lightness, ab = photographs(64)
    torch.manual_seed(3)
    guide = draw_guide(network, lightness, ab)
    torch.manual_seed(3)
    again = draw_reference(lightness, ab)
    assert isinstance(guide, Reference)
    for one, other in zip(guide, again, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(draw_reference(lightness, ab).ab, again.ab)


def test_ranges_and_shapes() -> None:
    lightness, ab = photographs()
    torch.manual_seed(0)
    for _ in range(5):
        reference = draw_reference(lightness, ab)
        assert reference.lightness.shape == lightness.shape
        assert reference.ab.shape == ab.shape
        assert reference.lightness.min() >= 0
        assert reference.lightness.max() <= 100
        for found, true in zip(reference.ab, ab, strict=True):
            # True colors, or between them.
            assert (found.amax((1, 2)) <= true.amax((1, 2)) + 1e-3).all()
            assert (found.amin((1, 2)) >= true.amin((1, 2)) - 1e-3).all()


def test_three_of_four_are_known() -> None:
    torch.manual_seed(0)
    known = draw_reference(torch.zeros(2000, 1, 8, 8), torch.zeros(2000, 2, 8, 8)).known
    assert set(known.tolist()) == {0.0, 1.0}
    assert known.mean() == pytest.approx(0.75, abs=0.03)


def test_each_is_moved_by_an_affinity_of_its_own() -> None:
    # The colors tell the place that each pixel comes from, in sides from the middle.
    side, batch = 64, 200
    axis = (torch.arange(side) + 0.5) / side - 0.5
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy")).expand(batch, -1, -1, -1)
    torch.manual_seed(0)
    found = draw_reference(torch.zeros(batch, 1, side, side), places).ab
    middle = slice(side // 2 - 1, side // 2 + 1)
    center = found[:, :, middle, middle].mean((2, 3))
    across = (found[:, :, 32, 33] - found[:, :, 32, 32]) * side
    down = (found[:, :, 33, 32] - found[:, :, 32, 32]) * side
    zoom, shear = across[:, 0], down[:, 0] / across[:, 0]
    torch.testing.assert_close(down[:, 1], zoom, atol=1e-3, rtol=0)
    assert across[:, 1].abs().max() < 1e-3
    for values, most in (
        (center[:, 0], 0.2),
        (center[:, 1], 0.2),
        (zoom.log(), 0.183),
        (shear, 0.1),
    ):
        assert 0.8 * most < values.abs().max() < 1.02 * most + 1 / side
        assert values.mean().abs() < 0.2 * most
        assert values.std() > 0.4 * most


def test_lightness_moves_with_the_color_and_varies() -> None:
    lightness, _ = photographs()
    torch.manual_seed(0)
    reference = draw_reference(lightness, torch.cat([lightness, lightness], dim=1))
    for light, moved in zip(
        reference.lightness.flatten(1), reference.ab[:, 0].flatten(1), strict=True
    ):
        assert torch.corrcoef(torch.stack([light, moved]))[0, 1] > 0.9
        assert (light - moved).abs().mean() > 0.5
        assert (light - moved).abs().mean() < 16
