"""The 313 bins: encoding against a k-d tree, the statistics, and the way back."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from skimage import color, data

from chromaflow.color.codebooks.bins import rebalancing_weights, smoothed_prior
from chromaflow.color.codebooks.grid import ALL_BINS, BINS, Grid313, Grid529, soft_table
from chromaflow.color.codebooks.registry import CODEBOOKS, Codebook, build_codebook
from chromaflow.color.stored import ab_histogram, encode_stored
from chromaflow.errors import ModelError
from tests.support.layers import gradient


@pytest.fixture(scope="module")
def histogram() -> np.ndarray:
    return ab_histogram(encode_stored(color.rgb2lab(data.astronaut()[::2, ::2])))


def plane(*colors: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(colors, dtype=torch.float32).T.reshape(1, 2, 1, -1)


def dense(codebook: Grid313, ab: torch.Tensor) -> torch.Tensor:
    (soft,) = codebook.encode(ab)
    batch, _, height, width = ab.shape
    return torch.zeros(batch, 313, height, width).scatter_add(1, soft.indices, soft.shares)


def test_bins_are_the_published_ones() -> None:
    assert len(BINS) == len(set(BINS)) == 313
    assert list(BINS) == sorted(BINS)
    assert BINS[0] == (-90, 50)
    assert BINS[-1] == (100, 0)
    assert all(a % 10 == 0 and b % 10 == 0 for a, b in BINS)
    assert (0, 0) in BINS


def test_bins_cover_what_srgb_can_show() -> None:
    axis = np.linspace(0, 1, 32)
    rgb = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 1, 3)
    distance, _ = cKDTree(BINS).query(color.rgb2lab(rgb)[:, 0, 1:])
    assert distance.max() < 10


@pytest.mark.parametrize(("neighbors", "sigma"), [(1, 5.0), (5, 5.0), (10, 5.0), (5, 2.5)])
def test_encoding_agrees_with_a_kd_tree(neighbors: int, sigma: float) -> None:
    axis = torch.arange(-128, 128, 3, dtype=torch.float32)
    ab = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None]
    (soft,) = Grid313(neighbors=neighbors, sigma=sigma).encode(ab)
    points = ab[0].permute(1, 2, 0).reshape(-1, 2).double().numpy()
    distance, _ = cKDTree(BINS).query(points, k=[*range(1, neighbors + 1)])
    weights = np.exp(-(distance**2 - distance[:, :1] ** 2) / (2 * sigma**2))
    weights /= weights.sum(axis=1, keepdims=True)
    flat = soft.indices[0].flatten(1).T.numpy()
    # Equally near bins may come in another order, so distances are compared, not indices.
    chosen = np.linalg.norm(np.array(BINS)[flat] - points[:, None], axis=-1)
    np.testing.assert_allclose(chosen, distance, atol=1e-9)
    np.testing.assert_allclose(soft.shares[0].flatten(1).T.numpy(), weights, atol=1e-6)
    assert all(len(set(row)) == neighbors for row in flat.tolist())


def test_encoding_has_the_promised_shape_and_types() -> None:
    (soft,) = Grid313().encode(torch.zeros(2, 2, 3, 4))
    assert soft.indices.shape == soft.shares.shape == (2, 5, 3, 4)
    assert soft.indices.dtype == torch.int64
    assert soft.shares.dtype == soft.weights.dtype == torch.float32
    assert soft.weights.shape == (2, 3, 4)


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_shares_sum_to_one_and_the_nearest_comes_first(a: float, b: float) -> None:
    (soft,) = Grid313().encode(plane((a, b)))
    shares = soft.shares.flatten()
    assert shares.sum().item() == pytest.approx(1, abs=1e-6)
    assert (shares.diff() <= 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BINS), st.floats(-0.49, 0.49), st.floats(-0.49, 0.49))
def test_colors_between_integers_take_the_nearest(
    bin_: tuple[int, int], da: float, db: float
) -> None:
    codebook = Grid313()
    exact = dense(codebook, plane(bin_))
    assert torch.equal(dense(codebook, plane((bin_[0] + da, bin_[1] + db))), exact)
    assert exact.argmax().item() == BINS.index(bin_)


def test_decoding_an_encoded_photograph_gives_nearly_its_colors() -> None:
    lab = color.rgb2lab(data.coffee()[::4, ::4])
    ab = torch.from_numpy(lab[..., 1:].astype(np.float32)).permute(2, 0, 1)[None]
    codebook = Grid313(temperature=1.0)
    back = codebook.decode(dense(codebook, ab).clamp(min=1e-30).log())
    assert (back - ab).norm(dim=1).mean() < 1.5


def test_temperature_goes_from_the_mean_to_the_mode() -> None:
    logits = torch.full((1, 313, 1, 1), -100.0)
    logits[0, BINS.index((0, 0))] = 0.0
    logits[0, BINS.index((50, 50))] = np.log(0.25)
    mean = Grid313(temperature=1.0).decode(logits).flatten()
    annealed = Grid313().decode(logits).flatten()
    mode = Grid313(temperature=1e-3).decode(logits).flatten()
    torch.testing.assert_close(mean, torch.tensor([10.0, 10.0]))
    share = 0.25 ** (1 / 0.38) / (1 + 0.25 ** (1 / 0.38))
    torch.testing.assert_close(annealed, torch.full((2,), 50 * share))
    torch.testing.assert_close(mode, torch.zeros(2))


def test_decoding_has_a_gradient_and_ignores_autocast() -> None:
    codebook = Grid313()
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 313, 3, 4, generator=generator, requires_grad=True)
    ab = codebook.decode(logits)
    ab.square().sum().backward()
    assert ab.shape == (2, 2, 3, 4)
    assert torch.isfinite(gradient(logits)).all()
    assert gradient(logits).abs().sum() > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(codebook.decode(logits), ab)


def test_prior_is_the_mean_of_the_soft_encodings(histogram: np.ndarray) -> None:
    pixels = encode_stored(color.rgb2lab(data.astronaut()[::2, ::2])).astype(np.float32)
    ab = torch.from_numpy(pixels[..., 1:] - 128).permute(2, 0, 1)[None]
    expected = dense(Grid313(), ab).mean(dim=(0, 2, 3))
    codebook = Grid313(histogram=histogram)
    torch.testing.assert_close(codebook.prior, expected, atol=1e-6, rtol=1e-3)
    assert codebook.prior.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("rebalance", [0.0, 0.25, 0.5, 1.0])
def test_weights_are_one_on_average(histogram: np.ndarray, rebalance: float) -> None:
    codebook = Grid313(histogram=histogram, rebalance=rebalance)
    assert (codebook.prior * codebook.weights).sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(codebook.weights).all()
    assert (codebook.weights > 0).all()


def test_weights_follow_the_equation(histogram: np.ndarray) -> None:
    prior = smoothed_prior(histogram, soft_table(BINS, 5, 5.0)).double().numpy()
    expected = 1 / (0.5 * prior + 0.5 / 313)
    expected /= (prior * expected).sum()
    got = rebalancing_weights(torch.from_numpy(prior), 0.5)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5)
    rare, common = prior.argmin(), prior.argmax()
    assert got[rare] > 1 > got[common]
    torch.testing.assert_close(rebalancing_weights(torch.from_numpy(prior), 1.0), torch.ones(313))


def test_without_statistics_all_bins_weigh_one() -> None:
    codebook = Grid313()
    assert codebook.weights.eq(1).all()
    torch.testing.assert_close(codebook.prior, torch.full((313,), 1 / 313))


def test_config_and_state_rebuild_it_without_the_data(histogram: np.ndarray) -> None:
    first = build_codebook(
        "grid313", histogram, neighbors=10, sigma=4.0, temperature=0.5, rebalance=0.3
    )
    config = json.loads(json.dumps(first.config()))
    assert set(config) == {"name", "neighbors", "sigma", "temperature", "rebalance"}
    state = first.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "centers": (313, 2),
        "prior": (313,),
        "weights": (313,),
    }
    second = build_codebook(**config)
    second.load_state_dict(state)
    ab = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(1)) * 40
    for one, other in zip(first.encode(ab)[0], second.encode(ab)[0], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(first.get_buffer("weights"), second.get_buffer("weights"))
    logits = torch.randn(1, 313, 4, 4, generator=torch.Generator().manual_seed(2))
    assert torch.equal(first.decode(logits), second.decode(logits))
    assert not list(first.parameters())


def test_two_codebooks_share_no_memory(histogram: np.ndarray) -> None:
    one, other = Grid313(), Grid313()
    one.get_buffer("_shares0").zero_()
    assert other.encode(plane((0, 0)))[0].shares.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("name", sorted(CODEBOOKS))
def test_every_codebook_keeps_the_contract(name: str, histogram: np.ndarray) -> None:
    codebook = build_codebook(name, histogram)
    assert isinstance(codebook, Codebook)
    assert codebook.config()["name"] == name
    ab = codebook.decode(torch.zeros(2, codebook.channels, 3, 5))
    assert ab.shape == (2, 2, 3, 5)
    assert ab.dtype == torch.float32
    truth = codebook.ideal_logits(torch.full((2, 2, 3, 5), 20.0))
    assert truth.shape == (2, codebook.channels, 3, 5)
    assert (codebook.decode(truth) - 20).abs().max() < 15


def test_all_bins_of_the_plane() -> None:
    assert len(ALL_BINS) == 529
    assert set(BINS) < set(ALL_BINS)
    codebook = Grid529()
    colors = plane((-110, 110), (0, 0), (30, -40))
    torch.testing.assert_close(codebook.decode(50 * codebook.ideal_logits(colors)), colors)


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(ModelError, match="unknown codebook 'grid31'; did you mean grid313"):
        build_codebook("grid31")
    with pytest.raises(ModelError, match="no setting temprature; did you mean temperature"):
        build_codebook("grid313", temprature=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"neighbors": 0},
        {"neighbors": 10**9},
        {"neighbors": 2.5},
        {"sigma": 0.0},
        {"sigma": float("nan")},
        {"temperature": 0},
        {"temperature": "warm"},
        {"rebalance": 1.5},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="grid313"):
        build_codebook("grid313", **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((256, 256), int),
        np.ones((255, 256), int),
        np.full((256, 256), -1),
        np.full((256, 256), np.nan),
        np.ones(65536),
        "counts",
    ],
)
def test_impossible_histograms_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ModelError, match="histogram"):
        build_codebook("grid313", wrong)


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, 2, h, w\)"):
        Grid313().encode(torch.zeros(2, 3, 4))
