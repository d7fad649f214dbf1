"""The self-organizing map: its error beside k-means, its order, and its way with a model."""

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree
from skimage import color, data

from chromaflow.color.codebooks.bins import all_colors
from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.color.codebooks.som import SelfOrganizingMap, learn_map, places
from chromaflow.color.stored import ab_histogram, encode_stored
from chromaflow.errors import ModelError

COLORS = all_colors().double().numpy()


def histogram_of(*names: str) -> np.ndarray:
    photographs = [color.rgb2lab(getattr(data, name)()[::3, ::3]) for name in names]
    counts: np.ndarray = np.sum([ab_histogram(encode_stored(lab)) for lab in photographs], axis=0)
    return counts


@pytest.fixture(scope="module")
def histogram() -> np.ndarray:
    return histogram_of("astronaut", "coffee", "rocket", "chelsea")


def error(histogram: np.ndarray, centers: np.ndarray) -> float:
    distance, _ = cKDTree(centers).query(COLORS)
    return float((histogram.reshape(-1) * distance**2).sum() / histogram.sum())


@pytest.mark.parametrize(
    ("neurons", "sides"), [(2, (1, 2)), (4, (2, 2)), (7, (1, 7)), (9, (3, 3)), (12, (3, 4))]
)
def test_the_grid_is_the_most_square_one(neurons: int, sides: tuple[int, int]) -> None:
    grid = places(neurons)
    assert tuple(grid.max(axis=0) + 1) == sides
    assert len({tuple(place) for place in grid}) == neurons


@pytest.mark.parametrize("neurons", [2, 4, 7, 9, 16])
def test_its_error_is_near_that_of_k_means(histogram: np.ndarray, neurons: int) -> None:
    pixels = np.repeat(COLORS, histogram.reshape(-1), axis=0)[::5]
    best = min(
        error(histogram, kmeans2(pixels, neurons, minit="++", rng=seed, iter=40)[0])
        for seed in range(3)
    )
    assert error(histogram, learn_map(histogram, neurons)) < 1.15 * best


@pytest.mark.parametrize("neurons", [4, 9, 16])
def test_neighbours_on_the_grid_are_near_in_color(histogram: np.ndarray, neurons: int) -> None:
    centers, grid = learn_map(histogram, neurons), places(neurons)
    apart = np.abs(grid[:, None] - grid).max(axis=-1)
    distance = np.linalg.norm(centers[:, None] - centers, axis=-1)
    if neurons > 4:
        assert distance[apart == 1].mean() < 0.8 * distance[apart > 1].mean()
    _, two = cKDTree(centers).query(COLORS, k=2)
    torn = apart[two[:, 0], two[:, 1]] > 1
    assert (histogram.reshape(-1) * torn).sum() / histogram.sum() < 0.1


def test_a_chain_lies_along_a_line_of_colors() -> None:
    histogram = np.zeros((256, 256), int)
    histogram[128 + np.arange(-60, 61), 128 + np.arange(-60, 61)] = 1
    centers = learn_map(histogram, 5)
    np.testing.assert_allclose(centers[:, 0], centers[:, 1], atol=1e-9)
    assert (np.diff(centers[:, 0]) > 15).all()


def test_the_same_counts_give_the_same_bits(histogram: np.ndarray) -> None:
    first = learn_map(histogram, 9)
    state = np.random.get_state(legacy=False)
    assert np.array_equal(learn_map(histogram, 9), first)
    np.testing.assert_equal(np.random.get_state(legacy=False), state)
    # Counts decide, not how they are stored.
    assert np.array_equal(learn_map(histogram.astype(np.uint32), 9), first)
    np.testing.assert_allclose(learn_map(histogram * 1000, 9), first, atol=1e-6)


def test_targets_are_the_nearest_neurons(histogram: np.ndarray) -> None:
    codebook = SelfOrganizingMap(histogram=histogram)
    ab = all_colors().T.reshape(1, 2, 256, 256)
    (target,) = codebook.encode(ab)
    distance, _ = cKDTree(codebook.centers.double().numpy()).query(COLORS)
    chosen = codebook.centers[target.indices.flatten()].double().numpy()
    np.testing.assert_allclose(np.linalg.norm(chosen - COLORS, axis=1), distance, atol=1e-9)
    back = codebook.decode(codebook.ideal_logits(ab))
    torch.testing.assert_close(back[0].flatten(1).T, codebook.centers[target.indices.flatten()])


def test_the_prior_is_what_each_neuron_wins(histogram: np.ndarray) -> None:
    codebook = SelfOrganizingMap(histogram=histogram)
    _, winner = cKDTree(codebook.centers.double().numpy()).query(COLORS)
    shares = np.bincount(winner, histogram.reshape(-1), 9) / histogram.sum()
    np.testing.assert_allclose(codebook.prior.numpy(), shares, atol=1e-6)
    rare, common = shares.argmin(), shares.argmax()
    assert codebook.weights[rare] > 1 > codebook.weights[common]


def test_other_centers_of_a_state_dict_bring_other_targets(histogram: np.ndarray) -> None:
    learned = SelfOrganizingMap(histogram=histogram)
    fresh = build_codebook(**learned.config())
    inside = torch.nn.ModuleDict({"codebook": fresh})
    ab = all_colors().T.reshape(1, 2, 256, 256)
    assert not torch.equal(fresh.encode(ab)[0].indices, learned.encode(ab)[0].indices)
    inside.load_state_dict({f"codebook.{k}": v for k, v in learned.state_dict().items()})
    for one, other in zip(fresh.encode(ab)[0], learned.encode(ab)[0], strict=True):
        assert torch.equal(one, other)
    assert set(learned.state_dict()) == {"prior", "weights", "centers"}


def test_without_statistics_the_neurons_cover_the_plane() -> None:
    centers = SelfOrganizingMap(neurons=9).centers
    assert len({tuple(center) for center in centers.tolist()}) == 9
    assert centers.abs().max() < 128


def test_too_few_colors_are_told() -> None:
    histogram = np.zeros((256, 256), int)
    histogram[100, [1, 2, 3]] = 5
    with pytest.raises(ModelError, match="3 colors, too few for 4 neurons"):
        build_codebook("som", histogram, neurons=4)
    three = build_codebook("som", histogram, neurons=3)
    ab = torch.tensor([[-28.0] * 3, [-127.0, -126.0, -125.0]]).reshape(1, 2, 1, 3)
    torch.testing.assert_close(three.decode(three.ideal_logits(ab)), ab, atol=1e-3, rtol=0)


def test_pixels_of_nearly_one_color_leave_no_neuron_without_a_place() -> None:
    histogram = np.zeros((256, 256), int)
    histogram[128, 128] = 10**9
    histogram[120:137:2, 120:137:2] += 1
    codebook = SelfOrganizingMap(neurons=64, histogram=histogram)
    assert torch.isfinite(codebook.centers).all()
    assert torch.isfinite(codebook.weights).all()
