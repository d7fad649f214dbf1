from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chromaflow.color.codebooks.grid import BINS, Grid313
from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import SettingsError
from chromaflow.training.losses import Step
from chromaflow.training.losses.bins import cross_entropy, kl

MakeStep = Callable[..., Step]


@pytest.fixture(scope="module")
def codebook() -> Grid313:
    histogram = np.ones((256, 256), dtype=np.int64)
    histogram[120:136, 120:136] = 1000
    book = build_codebook("grid313", histogram, rebalance=0.5)
    assert isinstance(book, Grid313)
    return book


def dense(logits: Tensor, ab: Tensor, codebook: Grid313, *, divergence: bool = False) -> Tensor:
    """The loss pixel by pixel with a dense target, as the papers write it."""
    centers = np.array(BINS, dtype=float)
    total = torch.zeros((), dtype=torch.float64)
    pixels = ab.movedim(1, -1).reshape(-1, 2).numpy().astype(float)
    scores = logits.movedim(1, -1).reshape(-1, len(BINS)).double()
    for score, color in zip(scores, pixels, strict=True):
        squares = ((centers - color) ** 2).sum(axis=1)
        nearest = np.argsort(squares, kind="stable")[:5]
        share = np.exp(-squares[nearest] / (2 * 5**2))
        target = torch.zeros(len(BINS), dtype=torch.float64)
        target[nearest] = torch.from_numpy(share / share.sum())
        if divergence:
            each = nn.functional.kl_div(score.log_softmax(0), target, reduction="sum")
        else:
            each = nn.functional.cross_entropy(score, target)
        total = total + codebook.weights[nearest[0]] * each
    return total / len(pixels)


@pytest.mark.parametrize("loss", [cross_entropy, kl])
def test_agrees_with_the_dense_definition(
    make_step: MakeStep, codebook: Grid313, loss: Callable[[Step], Tensor]
) -> None:
    generator = torch.manual_seed(0)
    logits = torch.randn(2, 313, 3, 4, generator=generator)
    ab = torch.randint(-60, 60, (2, 2, 3, 4), generator=generator).float()
    own, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = loss(make_step(own, ab, codebook))
    expected = dense(other, ab, codebook, divergence=loss is kl)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    found.backward()
    expected.backward()
    torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-6)


@settings(max_examples=20)
@given(st.floats(-50, 50), st.integers(0, 2**32 - 1))
def test_adding_to_all_logits_changes_nothing(
    make_step: MakeStep, codebook: Grid313, shift: float, seed: int
) -> None:
    generator = torch.manual_seed(seed)
    logits = torch.randn(1, 313, 2, 2, generator=generator)
    ab = 40 * torch.randn(1, 2, 2, 2, generator=generator)
    plain, moved = make_step(logits, ab, codebook), make_step(logits + shift, ab, codebook)
    for loss in (cross_entropy, kl):
        assert float(loss(plain)) >= 0
        assert float(loss(moved)) == pytest.approx(float(loss(plain)), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", ["grid313", "channel50"])
def test_the_truth_diverges_by_nothing(
    make_step: MakeStep, photographs: tuple[Tensor, Tensor], name: str
) -> None:
    ab = photographs[1].round()
    book = build_codebook(name)
    step = make_step(book.ideal_logits(ab), ab, book)
    assert float(kl(step)) == pytest.approx(0, abs=1e-4)
    worse = make_step(book.ideal_logits(ab.flip(0)), ab, book)
    assert float(kl(worse)) > 1


def test_groups_add_up(make_step: MakeStep) -> None:
    book = build_codebook("channel50")
    assert book.channels == 100
    logits = torch.zeros(1, 100, 2, 2)
    found = float(cross_entropy(make_step(logits, torch.zeros(1, 2, 2, 2), book)))
    assert found == pytest.approx(2 * np.log(50), rel=1e-5)


def test_the_target_is_the_mean_of_the_area(make_step: MakeStep, codebook: Grid313) -> None:
    logits = torch.randn(1, 313, 1, 1, generator=torch.manual_seed(0))
    halves = torch.tensor([[[[40.0, 0.0], [40.0, 0.0]], [[0.0, 0.0], [0.0, 40.0]]]])
    mean = torch.tensor([20.0, 10.0])[None, :, None, None]
    assert cross_entropy(make_step(logits, halves, codebook)) == cross_entropy(
        make_step(logits, mean, codebook)
    )


def test_pixels_at_places_are_compared_with_their_colors(
    make_step: MakeStep, codebook: Grid313
) -> None:
    generator = torch.manual_seed(0)
    ab = 30 * torch.randn(2, 2, 4, 4, generator=generator)
    whole = torch.randn(2, 313, 4, 4, generator=generator)
    places = torch.tensor([[3, 7, 0], [15, 8, 2]])
    index = places[:, None].expand(-1, 313, -1)
    some = whole.flatten(2).gather(2, index)[:, :, None]
    chosen = ab.flatten(2).gather(2, index[:, :2])[:, :, None]
    found = cross_entropy(make_step(some, ab, codebook, places=places))
    assert found == cross_entropy(make_step(some, chosen, codebook))


def test_half_precision_is_widened(make_step: MakeStep, codebook: Grid313) -> None:
    logits = torch.full((1, 313, 1, 1), 300.0, dtype=torch.bfloat16)
    step = make_step(logits, torch.zeros(1, 2, 1, 1), codebook)
    assert cross_entropy(step).dtype == kl(step).dtype == torch.float32


@pytest.mark.parametrize("loss", [cross_entropy, kl])
def test_another_codebook_is_told(make_step: MakeStep, loss: Callable[[Step], Tensor]) -> None:
    step = make_step(torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1))
    with pytest.raises(SettingsError, match=f"{loss.__name__} needs a codebook of bins"):
        loss(step)
