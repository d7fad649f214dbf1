from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.training.losses import Step
from chromaflow.training.losses.regression import huber, l1, l2

MakeStep = Callable[..., Step]
LOSSES = {"l2": l2, "l1": l1, "huber": huber(10.0)}


def random_step(make_step: MakeStep, seed: int) -> Step:
    generator = torch.manual_seed(seed)
    logits = torch.randn(2, 2, 3, 5, generator=generator)
    return make_step(logits, 60 * torch.randn(2, 2, 3, 5, generator=generator), bounded=False)


@given(st.integers(0, 2**32 - 1))
def test_agree_with_what_the_papers_write(make_step: MakeStep, seed: int) -> None:
    step = random_step(make_step, seed)
    errors = ((step.true_ab - step.ab).double() / 128).numpy()
    images, _, height, width = errors.shape
    square = [(errors[i] ** 2).sum() / (2 * height * width) for i in range(images)]
    assert float(l2(step)) == pytest.approx(np.mean(square), rel=1e-5)
    assert float(l1(step)) == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    m, u = 10 / 128, np.abs(errors)
    expected = np.where(u <= m, u**2, m * (2 * u - m)).mean()
    assert float(huber(10.0)(step)) == pytest.approx(expected, rel=1e-5)


def test_a_threshold_beyond_all_errors_squares_them(make_step: MakeStep) -> None:
    step = random_step(make_step, 0)
    torch.testing.assert_close(huber(1e4)(step), l2(step))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("codebook", ["regression", "grid313"])
def test_the_truth_costs_little_and_the_gradient_leads_there(
    make_step: MakeStep, photographs: tuple[Tensor, Tensor], name: str, codebook: str
) -> None:
    ab, book, loss = photographs[1].round(), build_codebook(codebook), LOSSES[name]
    best = float(loss(make_step(book.ideal_logits(ab), ab, book)))
    assert best < {"l2": 2e-3, "l1": 0.025, "huber": 2e-3}[name]
    logits = (0.1 * torch.randn(3, book.channels, 64, 64, generator=torch.manual_seed(0))).detach()
    logits.requires_grad_()
    first = loss(make_step(logits, ab, book))
    (slope,) = torch.autograd.grad(first, logits)
    assert slope.isfinite().all()
    nearer = loss(make_step(logits - slope / slope.norm(), ab, book))
    assert best < float(nearer.detach()) < float(first.detach())


def test_small_outputs_are_compared_with_the_mean_of_their_area(make_step: MakeStep) -> None:
    halves = torch.tensor([[[[64.0, 0.0], [64.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    step = make_step(torch.full((1, 2, 1, 1), 0.25), halves, bounded=False)
    assert float(l1(step)) == pytest.approx(0.125)
    assert float(l2(step)) == pytest.approx(0.25**2 / 2)


def test_half_precision_is_widened(make_step: MakeStep) -> None:
    logits = torch.zeros(1, 2, 2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        step = make_step(logits, torch.zeros(1, 2, 2, 2))
        assert {loss(step).dtype for loss in LOSSES.values()} == {torch.float32}
