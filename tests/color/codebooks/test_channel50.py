"""Bins of each channel: against a plain search, the marginals, and the way back."""

import numpy as np
import pytest
import torch
from skimage import color, data

from chromaflow.color.codebooks.bins import rebalancing_weights
from chromaflow.color.codebooks.channel50 import Channel50
from chromaflow.color.stored import ab_histogram, encode_stored

AXIS = torch.arange(-128, 128, dtype=torch.float32)
PLANE = torch.stack(torch.meshgrid(AXIS, AXIS, indexing="ij"))[None]


@pytest.mark.parametrize("bins", [2, 3, 21, 50, 256])
def test_targets_are_the_nearest_bins(bins: int) -> None:
    codebook = Channel50(bins=bins)
    centers = codebook.centers.double()[:, 0]
    for number, target in enumerate(codebook.encode(PLANE)):
        distance = (PLANE[0, number].double()[..., None] - centers).abs()
        chosen = distance.gather(-1, target.indices[0, 0][..., None] - number * bins)[..., 0]
        torch.testing.assert_close(chosen, distance.min(dim=-1).values, atol=1e-5, rtol=0)
        assert target.shares.eq(1).all()


@pytest.mark.parametrize("bins", [21, 50])
def test_grey_stays_grey_and_srgb_is_covered(bins: int) -> None:
    codebook = Channel50(bins=bins)
    grey = codebook.decode(codebook.ideal_logits(torch.zeros(1, 2, 1, 1)))
    assert grey.abs().max() == 0
    axis = np.linspace(0, 1, 32)
    rgb = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(1, -1, 3)
    ab = torch.from_numpy(color.rgb2lab(rgb)[..., 1:].astype(np.float32)).permute(2, 0, 1)[None]
    moved = (codebook.decode(codebook.ideal_logits(ab)) - ab).abs().max()
    assert moved <= 110 / bins + 0.5 + 1e-4


def test_decoding_is_the_annealed_mean_of_each_channel() -> None:
    logits = torch.randn(2, 100, 3, 4, generator=torch.Generator().manual_seed(0))
    codebook = Channel50(temperature=0.5)
    centers = (np.arange(50) - 25) * 4.4
    for number in range(2):
        powers = np.exp(logits[:, 50 * number : 50 * number + 50].double().numpy() / 0.5)
        mean = (powers * centers[:, None, None]).sum(axis=1) / powers.sum(axis=1)
        got = codebook.decode(logits)[:, number]
        np.testing.assert_allclose(got.numpy(), mean, atol=1e-4)


def test_priors_are_the_marginals() -> None:
    pixels = encode_stored(color.rgb2lab(data.coffee()[::4, ::4]))
    codebook = Channel50(histogram=ab_histogram(pixels), rebalance=0.3)
    ab = torch.from_numpy(pixels[..., 1:].astype(np.float32) - 128).permute(2, 0, 1)[None]
    for number, target in enumerate(codebook.encode(ab)):
        part = slice(50 * number, 50 * number + 50)
        shares = torch.bincount(target.indices.flatten(), minlength=100)[part] / ab[0, 0].numel()
        torch.testing.assert_close(codebook.prior[part], shares, atol=1e-6, rtol=0)
        weights = rebalancing_weights(codebook.prior[part], 0.3)
        torch.testing.assert_close(codebook.weights[part], weights)
