"""Hue and chroma: against scikit-image's LCh and numpy's median, the weights, the way back."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color, data

from chromaflow.color.codebooks.hue_chroma import BINS, MAX_CHROMA, HueChroma
from chromaflow.color.stored import ab_histogram, encode_stored
from tests.support.layers import gradient

AXIS = torch.arange(-128, 128, dtype=torch.float32)
PLANE = torch.stack(torch.meshgrid(AXIS, AXIS, indexing="ij"))[None]
STEP = MAX_CHROMA / BINS


def polar(ab: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    lab = np.concatenate([np.full((1, *ab.shape[2:]), 50.0), ab[0].double().numpy()])
    _, chroma, hue = color.lab2lch(lab, channel_axis=0)
    return hue, chroma


def one(hue: list[float], chroma: list[float]) -> torch.Tensor:
    shares = torch.zeros(64)
    shares[: len(hue)] = torch.tensor(hue)
    shares[BINS : BINS + len(chroma)] = torch.tensor(chroma)
    return shares.clamp(min=1e-30).log().reshape(1, 64, 1, 1)


def test_targets_are_the_bins_of_hue_and_chroma() -> None:
    targets = HueChroma().encode(PLANE)
    hue, chroma = polar(PLANE)
    turned = targets[0].indices[0, 0].numpy()
    far = targets[1].indices[0, 0].numpy() - BINS
    # 1e-6 of a bin, for numbers that lie on an edge.
    assert (np.abs(hue * BINS / math.tau - turned - 0.5) <= 0.5 + 1e-6).all()
    inside = chroma < MAX_CHROMA
    assert (np.abs(chroma / STEP - far - 0.5)[inside] <= 0.5 + 1e-6).all()
    assert (far[~inside] == BINS - 1).all()


def test_the_most_chromatic_color_of_srgb_fits() -> None:
    axis = np.linspace(0, 1, 18)
    rgb = np.stack(np.meshgrid(axis, axis, axis), axis=-1)
    lch = color.lab2lch(color.rgb2lab(rgb))
    assert MAX_CHROMA - 0.5 < lch[..., 1].max() < MAX_CHROMA


def test_decoding_the_truth_moves_hue_and_chroma_by_half_a_bin_at_most() -> None:
    codebook = HueChroma()
    back = codebook.decode(codebook.ideal_logits(PLANE))
    hue, chroma = polar(PLANE)
    hue_back, chroma_back = polar(back)
    inside = (chroma < MAX_CHROMA) & (chroma > 0)
    turn = np.abs((hue_back - hue + math.pi) % math.tau - math.pi)
    assert turn[inside].max() <= math.pi / BINS + 1e-5
    assert np.abs(chroma_back - chroma)[inside].max() <= STEP / 2 + 1e-4


def test_the_hue_of_a_pixel_weighs_by_its_chroma() -> None:
    histogram = ab_histogram(encode_stored(color.rgb2lab(data.coffee()[::4, ::4])))
    codebook = HueChroma(hue_weight=5.0, histogram=histogram)
    ab = torch.tensor([[0.0, 30.0, 120.0], [0.0, -40.0, 120.0]]).reshape(1, 2, 1, 3)
    hue, chroma = codebook.encode(ab)
    factor = torch.tensor([[[0.0, 5 * 50 / MAX_CHROMA, 5.0]]])
    torch.testing.assert_close(hue.weights, codebook.weights[hue.indices[:, 0]] * factor)
    assert torch.equal(chroma.weights, codebook.weights[chroma.indices[:, 0]])


def test_the_prior_of_hue_counts_chroma_and_that_of_chroma_pixels() -> None:
    histogram = np.zeros((256, 256), int)
    histogram[128, 128] = 1000
    histogram[128 + 60, 128] = 1
    histogram[128, 128 + 30] = 6
    codebook = HueChroma(histogram=histogram)
    prior = codebook.prior.numpy()
    assert prior[0] == pytest.approx(60 / 240)
    assert prior[BINS // 4] == pytest.approx(180 / 240)
    assert prior[BINS] == pytest.approx(1000 / 1007)


def test_photographs_without_color_have_a_codebook() -> None:
    histogram = np.zeros((256, 256), int)
    histogram[128, 128] = 9
    codebook = HueChroma(histogram=histogram)
    assert torch.isfinite(codebook.weights).all()
    assert codebook.encode(torch.zeros(1, 2, 1, 1))[0].weights.item() == 0


def test_hue_is_the_circular_mean_across_the_end_of_the_circle() -> None:
    logits = one([0.5] + [0.0] * 30 + [0.5], [1.0])
    a, b = HueChroma().decode(logits).flatten().tolist()
    assert a == pytest.approx(STEP / 2, rel=1e-4)
    assert b == pytest.approx(0, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.001, 1), min_size=BINS, max_size=BINS))
def test_chroma_is_the_median_within_its_bin(shares: list[float]) -> None:
    chroma = np.array(shares) / sum(shares)
    expected = np.interp(0.5, np.concatenate([[0], chroma.cumsum()]), np.arange(BINS + 1)) * STEP
    ab = HueChroma().decode(one([1.0], chroma.tolist()))
    assert ab.norm(dim=1).item() == pytest.approx(expected, rel=1e-3)


def test_chroma_fades_where_the_hue_is_uncertain() -> None:
    uncertain = one([0.75] + [0.0] * 15 + [0.25], [0.0] * 10 + [1.0])
    sure = one([1.0], [0.0] * 10 + [1.0])
    lengths = {
        (fading, name): HueChroma(fading=fading).decode(logits).norm().item()
        for fading in (True, False)
        for name, logits in (("uncertain", uncertain), ("sure", sure))
    }
    full = 10.5 * STEP
    assert lengths[False, "uncertain"] == pytest.approx(full, rel=1e-4)
    assert lengths[False, "sure"] == lengths[True, "sure"] == pytest.approx(full, rel=1e-4)
    assert lengths[True, "uncertain"] == pytest.approx(full * 0.5 / 0.96, rel=1e-4)
    even = one([1 / BINS] * BINS, [0.0] * 10 + [1.0])
    assert HueChroma().decode(even).norm().item() == pytest.approx(0, abs=1e-3)


def test_the_gradient_is_that_of_finite_differences() -> None:
    logits = torch.randn(1, 64, 2, 2, generator=torch.Generator().manual_seed(3))
    logits.requires_grad_()
    codebook = HueChroma()
    codebook.decode(logits).square().sum().backward()
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(4)) * 1e-2
    with torch.no_grad():
        ahead, behind = (
            codebook.decode(logits + sign * direction).double().square().sum() for sign in (1, -1)
        )
    slope = ((ahead - behind) / 2).item()
    assert (gradient(logits) * direction).sum().item() == pytest.approx(slope, rel=2e-2)
