import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chromaflow.color.codebook import build_codebook
from chromaflow.color.grid import BINS, Grid313
from chromaflow.errors import SettingsError
from chromaflow.training.losses import cross_entropy, find_loss


@pytest.fixture(scope="module")
def codebook() -> Grid313:
    histogram = np.ones((256, 256), dtype=np.int64)
    histogram[120:136, 120:136] = 1000
    book = build_codebook("grid313", histogram, rebalance=0.5)
    assert isinstance(book, Grid313)
    return book


def dense(logits: Tensor, ab: Tensor, codebook: Grid313) -> Tensor:
    """The loss pixel by pixel with a dense target, as the paper writes it."""
    centers = np.array(BINS, dtype=float)
    total = 0.0
    pixels = ab.movedim(1, -1).reshape(-1, 2).numpy().astype(float)
    scores = logits.movedim(1, -1).reshape(-1, len(BINS)).double()
    for score, color in zip(scores, pixels, strict=True):
        squares = ((centers - color) ** 2).sum(axis=1)
        nearest = np.argsort(squares, kind="stable")[:5]
        share = np.exp(-squares[nearest] / (2 * 5**2))
        target = torch.zeros(len(BINS), dtype=torch.float64)
        target[nearest] = torch.from_numpy(share / share.sum())
        total += codebook.weights[nearest[0]] * nn.functional.cross_entropy(score, target)
    return total / len(pixels)


def test_agrees_with_the_dense_definition(codebook: Grid313) -> None:
    generator = torch.manual_seed(0)
    logits = torch.randn(2, 313, 3, 4, generator=generator)
    ab = torch.randint(-60, 60, (2, 2, 3, 4), generator=generator).float()
    expected = dense(logits, ab, codebook)
    assert float(cross_entropy(logits, ab, codebook)) == pytest.approx(float(expected), rel=1e-5)


def test_gradient_is_what_autograd_gives_the_dense_one(codebook: Grid313) -> None:
    logits = torch.randn(1, 313, 2, 2, generator=torch.manual_seed(0), dtype=torch.float32)
    ab = torch.tensor([[[[3.0, 40.0], [-20.0, 0.0]], [[7.0, -33.0], [60.0, 0.0]]]])
    own, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    cross_entropy(own, ab, codebook).backward()
    dense(other, ab, codebook).backward()
    torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.floats(-50, 50), st.integers(0, 2**32 - 1))
def test_adding_to_all_logits_changes_nothing(codebook: Grid313, shift: float, seed: int) -> None:
    generator = torch.manual_seed(seed)
    logits = torch.randn(1, 313, 2, 2, generator=generator)
    ab = 40 * torch.randn(1, 2, 2, 2, generator=generator)
    given_, moved = (cross_entropy(x, ab, codebook) for x in (logits, logits + shift))
    assert float(given_) >= 0
    assert float(moved) == pytest.approx(float(given_), rel=1e-3, abs=1e-3)


def test_half_precision_is_widened(codebook: Grid313) -> None:
    logits = torch.full((1, 313, 1, 1), 300.0, dtype=torch.bfloat16)
    assert cross_entropy(logits, torch.zeros(1, 2, 1, 1), codebook).dtype == torch.float32


def test_another_codebook_is_told() -> None:
    class Plain(Grid313):
        def encode(self, ab: Tensor) -> Tensor:  # type: ignore[override]
            return ab

    with pytest.raises(SettingsError, match="codebook of bins"):
        cross_entropy(torch.zeros(1, 313, 1, 1), torch.zeros(1, 2, 1, 1), Plain())


def test_losses_have_names() -> None:
    assert find_loss("cross_entropy") is cross_entropy
    with pytest.raises(SettingsError, match="did you mean cross_entropy"):
        find_loss("crossentropy")
