"""Colors that a self-organizing map learns from the training data: Richart et al. 2017."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chromaflow.color.codebooks.bins import (
    BinnedCodebook,
    BinTable,
    all_colors,
    annealed_mean,
    check_count,
    check_histogram,
    check_positive,
    hard_table,
)
from chromaflow.errors import ModelError

_Array = npt.NDArray[np.float64]
_ROUNDS = 200
# Radius of the neighbourhood at the end, in steps of the grid: next to nothing, as in k-means.
_LAST_RADIUS = 0.2
_AT_ONCE = 2**20


def places(neurons: int) -> npt.NDArray[np.int64]:
    """Row and column of each neuron on the most square grid, (neurons, 2); 7 make a chain.

    Example:
        >>> places(4).tolist()
        [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    rows = max(n for n in range(1, math.isqrt(neurons) + 1) if neurons % n == 0)
    return np.stack(np.divmod(np.arange(neurons), neurons // rows), axis=1)


def nearest(colors: _Array, centers: _Array) -> npt.NDArray[np.int64]:
    """Index of the center nearest to each color, of equally near ones the first.

    Args:
        colors: (n, 2).
        centers: (neurons, 2).

    Example:
        >>> nearest(np.array([[20.0, 9.0], [-50.0, 0.0]]), np.array([[0.0, 0.0], [30.0, 10.0]]))
        array([1, 0])
    """
    parts = np.array_split(colors, math.ceil(len(colors) * len(centers) / _AT_ONCE))
    return np.concatenate(
        [
            ((part[:, :1] - centers[:, 0]) ** 2 + (part[:, 1:] - centers[:, 1]) ** 2).argmin(axis=1)
            for part in parts
        ]
    )


def _initial_map(colors: _Array, counts: _Array, grid: npt.NDArray[np.int64]) -> _Array:
    """Neurons on the plane of the two principal axes, up to one standard deviation each way."""
    mean = np.average(colors, axis=0, weights=counts)
    a, b = (colors - mean).T
    aa, ab, bb = (np.average(product, weights=counts) for product in (a * a, a * b, b * b))
    angle = math.atan2(2 * ab, aa - bb) / 2
    axes = np.array([[-math.sin(angle), math.cos(angle)], [math.cos(angle), math.sin(angle)]])
    spreads = [np.sqrt(np.average((x * a + y * b) ** 2, weights=counts)) for x, y in axes]
    steps = 2 * grid / np.maximum(grid.max(axis=0), 1) - (grid.max(axis=0) > 0)
    moved: _Array = ((steps * spreads)[:, :, None] * axes).sum(axis=1)
    moved += mean
    return moved


def learn_map(histogram: npt.NDArray[np.integer[Any]], neurons: int) -> _Array:
    """Learn a self-organizing map of the colors, the same for the same counts, bit for bit.

    The batch form of Kohonen's rule: in each round every neuron moves to the mean of all pixels,
    weighted by how near on the grid, a Gaussian, the neuron is that won them. It begins on the
    principal axes, and the neighbourhood shrinks from half the grid to nearly nothing.

    Args:
        histogram: Pixel counts, (256, 256), at [a + 128, b + 128].
        neurons: How many.

    Returns:
        a and b of each neuron, float64 (neurons, 2), in the order of `places`.

    Raises:
        ModelError: A histogram that is none, or has fewer colors than there are neurons.

    Example:
        >>> counts = np.zeros((256, 256), int)
        >>> counts[128 - 40, 128], counts[128 + 60, 128] = 9, 1  # two colors, (−40, 0) and (60, 0)
        >>> learn_map(counts, neurons=2)[:, 0].round().tolist()
        [-40.0, 60.0]
    """
    counts = check_histogram(histogram).numpy()
    colors = all_colors().double().numpy()[counts > 0]
    counts = counts[counts > 0]
    if len(counts) < neurons:
        raise ModelError(
            f"the training photographs have {len(counts)} colors, too few for {neurons} neurons.",
            "lower model.codebook.neurons, or train on more photographs",
        )
    grid = places(neurons)
    apart = ((grid[:, None] - grid) ** 2).sum(axis=-1)
    centers = _initial_map(colors, counts, grid)
    for radius in np.geomspace((grid.max() + 1) / 2, _LAST_RADIUS, _ROUNDS):
        winners = nearest(colors, centers)
        won = [np.bincount(winners, c, neurons) for c in (counts, *(colors.T * counts))]
        nearness = np.exp(-apart / (2 * radius**2))
        # Not a product of matrices, whose rounding would change with the number of threads.
        total, *sums = ((nearness * part).sum(axis=1) for part in won)
        alive = total > 0
        centers[alive] = np.stack(sums, axis=1)[alive] / total[alive, None]
    return centers


def _table(centers: Tensor) -> BinTable:
    winners = nearest(all_colors().double().numpy(), centers.double().cpu().numpy())
    return hard_table(torch.from_numpy(winners), len(centers))


def _follow_centers(codebook: "SelfOrganizingMap", _: Any) -> None:
    """Make the tables those of the centers that a state dict has brought."""
    codebook._keep([_table(codebook.centers)])


class SelfOrganizingMap(BinnedCodebook):
    """Classification over the few colors of a self-organizing map, with hard targets.

    Richart, Visca and Baliosian, "Image Colorization with Neural Networks", 2017: 4 or 9 neurons
    learn the colors of the training photographs and are the classes. The color of a pixel is the
    annealed mean, which comes to that of its most probable class as the temperature goes to 0.
    Decoding the truth gives the neuron nearest to the color.

    Args:
        neurons: How many, on the most square grid of so many.
        temperature: T of the annealed mean: 1 gives the mean, towards 0 the mode.
        rebalance: λ, the share of the uniform distribution in the prior; 1 weighs all colors
            alike.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128]; without
            it the neurons lie evenly over the plane until a state dict brings them.

    Attributes:
        centers: Buffer (neurons, 2): a and b of each neuron, row by row of the grid.

    Raises:
        ModelError: A setting out of its range, or a histogram that is none or has fewer colors
            than there are neurons.

    Example:
        >>> codebook = SelfOrganizingMap(neurons=9)
        >>> (target,) = codebook.encode(torch.full((1, 2, 4, 4), 20.0))
        >>> codebook.centers.shape, target.indices.shape
        (torch.Size([9, 2]), torch.Size([1, 1, 4, 4]))
    """

    name = "som"
    centers: Tensor

    def __init__(
        self,
        *,
        neurons: int = 9,
        temperature: float = 0.38,
        rebalance: float = 0.5,
        histogram: npt.NDArray[np.integer[Any]] | None = None,
    ) -> None:
        check_count(self.name, 2, 1024, neurons=neurons)
        check_positive(self.name, temperature=temperature)
        if histogram is None:
            plane = all_colors().double().numpy()
            learned = _initial_map(plane, np.ones(len(plane)), places(neurons))
        else:
            learned = learn_map(histogram, neurons)
        centers = torch.from_numpy(learned).float()
        super().__init__([_table(centers)], rebalance=rebalance, histogram=histogram)
        self.temperature = float(temperature)
        self.register_buffer("centers", centers)
        self.register_load_state_dict_post_hook(_follow_centers)  # type: ignore[no-untyped-call]

    def decode(self, logits: Tensor) -> Tensor:
        """Annealed mean of the neurons.

        Args:
            logits: (B, neurons, h, w).

        Returns:
            ab, float32 (B, 2, h, w), CIE units.
        """
        return annealed_mean(logits, self.centers, self.temperature)

    def config(self) -> dict[str, Any]:
        """Name and settings, fit for JSON and for `build_codebook(**config)`."""
        return {
            "name": self.name,
            "neurons": self.channels,
            "temperature": self.temperature,
            "rebalance": self.rebalance,
        }
