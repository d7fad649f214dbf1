"""Classification of color: a distribution over bins for each pixel, read from tables."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from chromaflow.color.codebooks.base import Codebook
from chromaflow.errors import ModelError

COLORS = 256 * 256
"""Integer colors, a and b each in −128..127; the row of a color is (a + 128) · 256 + b + 128."""


class SoftBins(NamedTuple):
    """A soft target over few bins of a group of channels.

    Attributes:
        indices: Channels of the bins, int64 (B, K, h, w), the nearest first.
        shares: Float32 (B, K, h, w), which sum to 1 over K.
        weights: What each pixel counts in the loss, float32 (B, h, w).

    Example:
        >>> from chromaflow.color.codebooks.grid import Grid313
        >>> (target,) = Grid313(neighbors=5).encode(torch.zeros(2, 2, 8, 8))
        >>> target.indices.shape, target.weights.shape
        (torch.Size([2, 5, 8, 8]), torch.Size([2, 8, 8]))
    """

    indices: Tensor
    shares: Tensor
    weights: Tensor


class BinTable(NamedTuple):
    """The soft encoding of every integer color over the bins of one group.

    Attributes:
        bins: How many.
        indices: int64 (65536, K), within the group, the nearest first.
        shares: float32 (65536, K).

    Example:
        >>> red_or_green = hard_table((all_colors()[:, 0] < 0).long(), bins=2)
        >>> red_or_green.indices.shape, red_or_green.indices[0].item()  # a = −128 is green
        (torch.Size([65536, 1]), 1)
    """

    bins: int
    indices: Tensor
    shares: Tensor


def all_colors() -> Tensor:
    """Every integer color in the order of the tables, float32 (65536, 2).

    Example:
        >>> colors = all_colors()
        >>> colors[0].tolist(), colors[(20 + 128) * 256 - 30 + 128].tolist()
        ([-128.0, -128.0], [20.0, -30.0])
    """
    axis = torch.arange(-128, 128, dtype=torch.float32)
    return torch.cartesian_prod(axis, axis)


def check_histogram(histogram: npt.NDArray[np.integer[Any]]) -> Tensor:
    """Pixel counts in the order of the tables, float64 (65536,).

    Args:
        histogram: (256, 256), at [a + 128, b + 128].

    Raises:
        ModelError: Another shape, a negative count, or no pixel at all.

    Example:
        >>> counts = np.zeros((256, 256), int)
        >>> counts[128 + 20, 128 - 30] = 7  # pixels of ab (20, −30)
        >>> check_histogram(counts).argmax().item() == (20 + 128) * 256 - 30 + 128
        True
    """
    usable = isinstance(histogram, np.ndarray) and histogram.shape == (256, 256)
    if not usable or histogram.min() < 0 or not 0 < histogram.sum() < math.inf:
        raise ModelError(
            "the ab histogram must hold how many pixels have each color, 256×256 counts, not all 0",
            "chromaflow preprocess",
        )
    return torch.from_numpy(histogram.astype(np.float64).reshape(-1))


def smoothed_prior(histogram: npt.NDArray[np.integer[Any]], table: BinTable) -> Tensor:
    """The share of each bin among the pixels: the mean of their soft encodings.

    The Gaussian of the soft encoding is the smoothing that Zhang et al. 2016 ask of their prior.

    Args:
        histogram: Pixel counts, (256, 256), at [a + 128, b + 128].
        table: The soft encoding.

    Returns:
        float32 (table.bins,), which sums to 1.

    Raises:
        ModelError: A histogram that is none.

    Example:
        >>> green = hard_table((all_colors()[:, 0] < 0).long(), bins=2)
        >>> smoothed_prior(np.ones((256, 256), int), green)  # as many pixels of each color
        tensor([0.5000, 0.5000])
    """
    counts = check_histogram(histogram)
    prior = torch.zeros(table.bins, dtype=torch.float64)
    shares = table.shares.double() * counts[:, None]
    prior.index_add_(0, table.indices.reshape(-1), shares.reshape(-1))
    return (prior / prior.sum()).float()


def rebalancing_weights(prior: Tensor, rebalance: float) -> Tensor:
    """Weights that let rare colors count, Zhang et al. 2016, Eq. 4.

    w ∝ ((1 − λ)·p + λ/Q)⁻¹ with Σ p·w = 1. A bin that never occurs weighs as much as the rarest
    that does where λ = 0 would make it infinite.

    Args:
        prior: p, (Q,), which sums to 1.
        rebalance: λ, 0..1: 1 weighs all bins alike.

    Returns:
        float32 (Q,).

    Example:
        >>> prior = torch.tensor([0.75, 0.25])
        >>> rebalancing_weights(prior, 0.0), rebalancing_weights(prior, 1.0)
        (tensor([0.6667, 2.0000]), tensor([1., 1.]))
    """
    mixed = (1 - rebalance) * prior.double() + rebalance / len(prior)
    weights = 1 / mixed.clamp(min=float(mixed[mixed > 0].min()))
    return (weights / (prior.double() * weights).sum()).float()


def check_numbers(codebook: str, **numbers: float) -> None:
    """Refuse settings that are not finite numbers.

    Raises:
        ModelError: One is not; by name.

    Example:
        >>> check_numbers("grid313", sigma=5.0, rebalance=math.nan)
        Traceback (most recent call last):
        chromaflow.errors.ModelError: codebook grid313: rebalance = nan is not a number
    """
    for name, value in numbers.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ModelError(f"codebook {codebook}: {name} = {value!r} is not a number")


def check_positive(codebook: str, **numbers: float) -> None:
    """Refuse settings that are not finite numbers above 0.

    Raises:
        ModelError: One is not; by name.

    Example:
        >>> check_positive("grid313", sigma=5.0, temperature=0.0)
        Traceback (most recent call last):
        chromaflow.errors.ModelError: codebook grid313: temperature = 0.0 is not above 0
    """
    check_numbers(codebook, **numbers)
    for name, number in numbers.items():
        if number <= 0:
            raise ModelError(f"codebook {codebook}: {name} = {number} is not above 0")


def check_count(codebook: str, low: int, high: int, **counts: int) -> None:
    """Refuse settings that are not integers in a range.

    Raises:
        ModelError: One is not in low..high; by name.

    Example:
        >>> check_count("som", 2, 1024, neurons=1)
        Traceback (most recent call last):
        chromaflow.errors.ModelError: codebook som: neurons = 1 is not in 2..1024
    """
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or not low <= count <= high:
            raise ModelError(f"codebook {codebook}: {name} = {count!r} is not in {low}..{high}")


def hard_table(nearest: Tensor, bins: int) -> BinTable:
    """The encoding that gives every integer color to one bin.

    Args:
        nearest: That bin, int64 (65536,).
        bins: How many there are.

    Example:
        >>> table = hard_table(torch.zeros(65536, dtype=torch.int64), bins=3)
        >>> table.bins, table.shares.shape, table.shares.unique().item()
        (3, torch.Size([65536, 1]), 1.0)
    """
    return BinTable(bins, nearest[:, None], torch.ones(COLORS, 1))


def annealed_mean(logits: Tensor, centers: Tensor, temperature: float) -> Tensor:
    """Mean of the bins, sharpened: softmax(logits / T) · centers, Zhang et al. 2016, Eq. 5.

    Args:
        logits: (B, bins, h, w).
        centers: float32 (bins, C).
        temperature: T: 1 gives the mean, towards 0 the mode.

    Returns:
        float32 (B, C, h, w), under autocast, too.

    Example:
        >>> logits, centers = torch.tensor([0.75, 0.25]).log(), torch.tensor([[0.0], [40.0]])
        >>> annealed_mean(logits.reshape(1, 2, 1, 1), centers, temperature=1.0).item()
        10.0
    """
    with torch.autocast(logits.device.type, enabled=False):
        shares = torch.softmax(logits.float() / temperature, dim=1)
        return torch.einsum("bqhw,qc->bchw", shares, centers)


class BinnedCodebook(Codebook):
    """A codebook that classifies; one softmax over the bins of each of its groups of channels.

    A subclass hands the table of each group to the constructor.

    Args:
        tables: One a group, in the order of their channels.
        rebalance: λ, the share of the uniform distribution in the prior; 1 weighs all alike.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128]; without
            it priors and weights are uniform until a state dict brings them.

    Attributes:
        groups: Channels of each group.
        prior: Buffer (channels,): smoothed share of each bin of a group among the training pixels;
            each group sums to 1.
        weights: Buffer (channels,): what a pixel of each bin weighs in the loss; 1 on average.

    Raises:
        ModelError: λ out of its range, or a histogram that is none.

    Example:
        >>> from chromaflow.color.codebooks.channel50 import Channel50
        >>> codebook = Channel50()
        >>> codebook.groups, [part.shape[1] for part in codebook.split(torch.zeros(1, 100, 2, 2))]
        ((50, 50), [50, 50])
    """

    name = ""
    prior: Tensor
    weights: Tensor

    def __init__(
        self,
        tables: Sequence[BinTable],
        *,
        rebalance: float,
        histogram: npt.NDArray[np.integer[Any]] | None,
    ) -> None:
        super().__init__()
        check_numbers(self.name, rebalance=rebalance)
        if not 0 <= rebalance <= 1:
            raise ModelError(f"codebook {self.name}: rebalance = {rebalance} is not in 0..1")
        self.rebalance = float(rebalance)
        self.groups = tuple(table.bins for table in tables)
        self.channels = sum(self.groups)
        priors = [torch.full((table.bins,), 1 / table.bins) for table in tables]
        weights = [torch.ones(table.bins) for table in tables]
        if histogram is not None:
            priors = [smoothed_prior(histogram, table) for table in tables]
            weights = [rebalancing_weights(prior, self.rebalance) for prior in priors]
        self.register_buffer("prior", torch.cat(priors))
        self.register_buffer("weights", torch.cat(weights))
        self._keep(tables)

    def _keep(self, tables: Sequence[BinTable]) -> None:
        first = 0
        for number, table in enumerate(tables):
            device = self.prior.device
            for name, tensor in (("indices", table.indices + first), ("shares", table.shares)):
                self.register_buffer(
                    f"_{name}{number}", tensor.to(device).clone(), persistent=False
                )
            first += table.bins

    def _rows(self, ab: Tensor) -> Tensor:
        """Row of the tables for each pixel, int64 (B, h, w)."""
        if ab.ndim != 4 or ab.shape[1] != 2:
            raise ValueError(f"ab must be (B, 2, h, w), not {tuple(ab.shape)}")
        rounded = ab.detach().float().round().clamp(-128, 127).long() + 128
        return rounded[:, 0] * 256 + rounded[:, 1]

    def encode(self, ab: Tensor) -> tuple[SoftBins, ...]:
        """Soft encoding of each group over its nearest bins, read from tables of integer colors.

        Stored pixels are integers and so encoded exactly. Other colors are taken for the nearest
        integers, at most 0.71 away, about what storing them has cost already. Colors beyond
        −128..127 are clamped. No gradient flows.

        Args:
            ab: (B, 2, h, w), CIE units.

        Raises:
            ValueError: Another shape.
        """
        rows = self._rows(ab)
        targets = []
        for number in range(len(self.groups)):
            indices, shares = (
                nn.functional.embedding(rows, getattr(self, f"_{name}{number}")).movedim(-1, 1)
                for name in ("indices", "shares")
            )
            targets.append(SoftBins(indices, shares, self.weights[indices[:, 0]]))
        return tuple(targets)

    def split(self, logits: Tensor) -> tuple[Tensor, ...]:
        """The logits of each group, (B, bins, h, w)."""
        return torch.split(logits, list(self.groups), dim=1)  # type: ignore[no-untyped-call, no-any-return]

    def ideal_logits(self, ab: Tensor) -> Tensor:
        """Logits whose softmax is the soft encoding: the best that a network could give.

        Args:
            ab: (B, 2, h, w), CIE units.

        Returns:
            float32 (B, channels, h, w).
        """
        batch, _, height, width = ab.shape
        shares = torch.zeros(batch, self.channels, height, width, device=ab.device)
        for target in self.encode(ab):
            shares.scatter_add_(1, target.indices, target.shares)
        return shares.clamp(min=1e-30).log()
