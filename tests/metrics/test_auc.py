"""The area under the curve against its definition, threshold by threshold."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chromaflow.metrics.auc import auc


def by_definition(error: np.ndarray, weights: np.ndarray) -> float:
    shares = [(weights * (error <= limit)).sum() / weights.sum() for limit in range(151)]
    return 100 * float(np.mean(shares))


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    predicted, true = torch.randn(2, 3, 2, 9, 11, generator=generator) * 50
    return predicted, true, torch.rand(3, 9, 11, generator=generator)


def test_it_agrees_with_the_definition(
    pair: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    predicted, true, weights = pair
    error = (predicted - true).norm(dim=1).numpy()
    plain = [by_definition(image, np.ones_like(image)) for image in error]
    weighted = [by_definition(*item) for item in zip(error, weights.numpy(), strict=True)]
    np.testing.assert_allclose(auc(predicted, true).numpy(), plain, rtol=1e-5)
    np.testing.assert_allclose(auc(predicted, true, weights).numpy(), weighted, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.integers(0, 200).map(float), st.floats(0, 200, width=32)))
def test_one_pixel(error: float) -> None:
    predicted = torch.tensor([error, 0.0]).reshape(1, 2, 1, 1)
    expected = by_definition(np.array([error]), np.ones(1))
    assert auc(predicted, torch.zeros(1, 2, 1, 1)).item() == pytest.approx(expected, abs=1e-4)


def test_ends_of_the_scale() -> None:
    zero = torch.zeros(1, 2, 4, 4)
    assert auc(zero, zero).item() == 100
    assert auc(zero + 200, zero).item() == 0
    assert auc(zero, zero, torch.zeros(1, 4, 4)).item() == 0


def test_images_weighed_by_their_pixels_give_that_of_all_pixels(
    pair: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    predicted, true, weights = pair
    mean = np.average(auc(predicted, true, weights), weights=weights.sum(dim=(1, 2)))
    error = (predicted - true).norm(dim=1).numpy()
    assert mean == pytest.approx(by_definition(error, weights.numpy()), rel=1e-5)


def test_wrong_input_is_refused(pair: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    predicted, true, weights = pair
    with pytest.raises(ValueError, match="shapes differ"):
        auc(predicted, true[:2])
    with pytest.raises(ValueError, match="weights must be"):
        auc(predicted, true, weights[:, :3])
