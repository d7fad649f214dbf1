import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import rgb2lab
from skimage.transform import resize
from torch import Tensor

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import SettingsError
from chromaflow.models import Colorizer, build_network
from chromaflow.models.networks.base import Hints, Outputs
from chromaflow.training.guides.draw import draw_guide
from chromaflow.training.guides.hints import draw_hints
from chromaflow.training.losses import Step
from chromaflow.training.losses.suggestions import suggestions


@pytest.fixture(scope="module")
def lab() -> Tensor:
    names = ("astronaut", "coffee", "chelsea", "rocket")
    images = [resize(getattr(skimage.data, n)(), (64, 48), anti_aliasing=True) for n in names]
    return torch.from_numpy(np.stack([rgb2lab(i).transpose(2, 0, 1) for i in images])).float()


def drawn(lab: Tensor, seed: int, images: int) -> tuple[Tensor, Hints]:
    torch.manual_seed(seed)
    batch = lab[torch.arange(images) % len(lab)]
    return batch[:, 1:], draw_hints(batch[:, :1], batch[:, 1:])


def test_the_same_seed_draws_the_same_hints(lab: Tensor) -> None:
    first, second, other = (drawn(lab, seed, 8)[1] for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.local, other.local)


def test_a_hint_is_the_mean_color_of_its_patch(lab: Tensor) -> None:
    true_ab, hints = drawn(lab, 3, 64)
    checked = 0
    for color, local in zip(true_ab.numpy(), hints.local.numpy(), strict=True):
        mask = local[2] > 0
        values = np.unique(local[:2, mask], axis=1)
        around = np.pad(mask, 1)
        for value in values.T:
            same = mask & (local[:2] == value[:, None, None]).all(axis=0)
            rows, columns = np.nonzero(same)
            high, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
            box = around[rows.min() : rows.max() + 3, columns.min() : columns.max() + 3]
            # A patch that no other meets: what is around it is not told.
            if box.sum() == same.sum() == high * wide:
                assert high == wide <= 9
                np.testing.assert_allclose(color[:, same].mean(axis=1), value, atol=1e-4)
                checked += 1
    assert checked > 40


def test_outside_the_mask_nothing_is_told(lab: Tensor) -> None:
    _, hints = drawn(lab, 4, 64)
    assert set(hints.local[:, 2].unique().tolist()) == {0.0, 1.0}
    assert (hints.local[:, :2] * (1 - hints.local[:, 2:])).abs().max() == 0


def test_counts_places_and_shares_follow_the_paper(lab: Tensor) -> None:
    small = lab[:, :, ::2, ::2]
    images = 800
    _, hints = drawn(small, 5, images)
    mask = hints.local[:, 2] > 0
    covered = mask.float().mean(dim=(1, 2))
    whole = int((covered == 1).sum())
    none = int((covered == 0).sum())
    # Geometric with p = 1/8 from 0: an eighth of the images has no point at all.
    assert abs(none / images - (1 / 8) * 0.99) < 0.035
    assert abs(whole / images - 0.01) < 0.01
    told = hints.global_hints[:, [313, 315]]
    assert set(told.unique().tolist()) == {0.0, 1.0}
    assert (told.mean(dim=0) - 0.5).abs().max() < 0.05
    assert abs(float((told[:, 0] * told[:, 1]).mean()) - 0.25) < 0.05
    # Places gather in the middle: a quarter of the size away from it, half of the density.
    density = mask[(covered > 0) & (covered < 1)].float().mean(dim=0)
    middle = density[12:20, 8:16].mean()
    edge = density[:4, :].mean()
    assert 0.2 < edge / middle < 0.7


def test_the_number_of_points_is_geometric(monkeypatch: pytest.MonkeyPatch) -> None:
    # Patches of one pixel hardly meet, so that they can be counted.
    monkeypatch.setattr("chromaflow.training.guides.hints.LARGEST_PATCH", 1)
    monkeypatch.setattr("chromaflow.training.guides.hints.WHOLE", 0.0)
    torch.manual_seed(6)
    local = draw_hints(torch.zeros(200, 1, 48, 48), torch.zeros(200, 2, 48, 48)).local
    counts = local[:, 2].sum(dim=(1, 2))
    assert abs(float(counts.mean()) - 7) < 1.5
    assert abs(float(counts.var()) - 56) < 25


def test_a_whole_image_is_its_true_color(lab: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chromaflow.training.guides.hints.WHOLE", 1.0)
    true_ab, hints = drawn(lab, 7, 4)
    assert torch.equal(hints.local[:, :2], true_ab)
    assert hints.local[:, 2].min() == 1


def test_what_is_not_told_is_zero(lab: Tensor) -> None:
    _, hints = drawn(lab, 8, 32)
    for row in hints.global_hints:
        assert float(row[:313].sum()) == pytest.approx(float(row[313]), abs=1e-5)
        assert (float(row[314]) > 0) == bool(row[315])


def test_only_guided_networks_get_hints(lab: Tensor) -> None:
    lightness, ab = lab[:, :1], lab[:, 1:]
    guided = build_network("zhang2017", 2, width=0.125)
    assert isinstance(draw_guide(guided, lightness, ab), Hints)
    assert draw_guide(build_network("unet", 2, width=0.125), lightness, ab) is None


def test_suggestions_are_compared_with_soft_bins(lab: Tensor) -> None:
    model = Colorizer(build_network("zhang2017", 2, width=0.125), build_codebook("regression"))
    torch.manual_seed(0)
    logits = torch.randn(4, 529, 16, 12)
    outputs = Outputs(torch.zeros(4, 2, 64, 48), None, {"suggestions": logits})
    book = build_codebook("grid529", neighbors=5, sigma=5.0)
    quarter = lab[:, 1:].reshape(4, 2, 16, 4, 12, 4).mean(dim=(3, 5))
    shares = book.ideal_logits(quarter).softmax(dim=1)
    expected = torch.nn.functional.cross_entropy(logits, shares)
    step = Step(model, outputs, lab[:, :1], lab[:, 1:])
    assert float(suggestions(step)) == pytest.approx(float(expected), rel=1e-4)
    known = Outputs(outputs.logits, None, {"suggestions": book.ideal_logits(quarter)})
    best = suggestions(Step(model, known, lab[:, :1], lab[:, 1:]))
    assert 0 <= float(best) < float(expected)


def test_a_network_that_suggests_nothing_is_told(lab: Tensor) -> None:
    model = Colorizer(build_network("zhang2017", 2, width=0.125), build_codebook("regression"))
    step = Step(model, Outputs(torch.zeros(4, 2, 64, 48), None, {}), lab[:, :1], lab[:, 1:])
    with pytest.raises(SettingsError, match="suggestions needs a network that suggests"):
        suggestions(step)
