"""Regression: the published scales, and the way back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.color.codebooks.regression import Regression

AXIS = torch.linspace(-127.5, 127.5, 103)
AB = torch.stack(torch.meshgrid(AXIS, AXIS, indexing="ij"))[None]


@pytest.mark.parametrize("bounded", [True, False])
def test_decoding_the_truth_gives_the_color(bounded: bool) -> None:
    codebook = Regression(bounded=bounded)
    torch.testing.assert_close(codebook.decode(codebook.ideal_logits(AB)), AB, atol=5e-3, rtol=0)


def test_bounded_output_is_the_scaled_tanh() -> None:
    output = torch.linspace(-5, 5, 22).reshape(1, 2, 11, 1)
    torch.testing.assert_close(Regression().decode(output), 128 * torch.tanh(output))
    linear = Regression(bounded=False, ab_range=50.0)
    torch.testing.assert_close(linear.decode(output), 50 * output)


def test_a_sigmoid_on_ab_in_0_to_1_differs_by_the_scale_of_the_output_alone() -> None:
    output = torch.linspace(-5, 5, 22).reshape(1, 2, 11, 1)
    sigmoid = 256 * torch.sigmoid(output) - 128
    torch.testing.assert_close(Regression().decode(output / 2), sigmoid, atol=1e-4, rtol=1e-5)


def test_targets_are_ab_over_its_range() -> None:
    assert torch.equal(Regression().encode(AB), AB / 128)
    assert Regression().encode(AB.half()).dtype == torch.float32


def test_colors_beyond_the_bound_are_the_bound() -> None:
    codebook = Regression(ab_range=100.0)
    ab = torch.tensor([120.0, -128.0]).reshape(1, 2, 1, 1)
    truth = codebook.ideal_logits(ab)
    assert torch.isfinite(truth).all()
    torch.testing.assert_close(codebook.decode(truth).flatten(), torch.tensor([100.0, -100.0]))


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e6, 1e6, width=32), st.floats(1, 200))
def test_bounded_color_stays_in_its_range(output: float, ab_range: float) -> None:
    ab = Regression(ab_range=ab_range).decode(torch.full((1, 2, 1, 1), output))
    assert ab.abs().max().item() <= ab_range * (1 + 1e-6)


def test_statistics_are_not_needed() -> None:
    codebook = build_codebook("regression", None)
    assert codebook.channels == 2
    assert not codebook.state_dict()
