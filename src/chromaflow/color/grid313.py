"""The 313 color bins of Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016."""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from chromaflow.color.base import Codebook
from chromaflow.errors import ModelError

# The published range of b, both ends included, for a = −90, −80, …, 100.
_B_RANGES = (
    *((50, 90), (20, 90), (0, 90), (-20, 90), (-30, 100), (-40, 100), (-50, 100), (-50, 100)),
    *((-60, 100), (-70, 100), (-80, 90), (-80, 90), (-90, 90), (-100, 90), (-100, 80), (-110, 80)),
    *((-110, 80), (-110, 70), (-110, 70), (-90, 0)),
)
BINS = tuple(
    (a, b)
    for a, (low, high) in zip(range(-90, 101, 10), _B_RANGES, strict=True)
    for b in range(low, high + 1, 10)
)
"""Centres (a, b) of the bins, in the order of the published model."""


class SoftBins(NamedTuple):
    """A soft target over few bins of many.

    Attributes:
        indices: Bins, int64 (B, K, h, w), the nearest first.
        weights: Their shares, float32 (B, K, h, w), which sum to 1 over K.
    """

    indices: Tensor
    weights: Tensor


@functools.lru_cache(maxsize=4)
def _soft_table(neighbors: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Bins and shares of every integer color: int64 and float32, both (65536, neighbors)."""
    centers = torch.tensor(BINS, dtype=torch.int32)
    axis = torch.arange(-128, 128, dtype=torch.int32)
    b_squares = (axis[:, None] - centers[:, 1]) ** 2
    # Distance and bin in one integer: equally near bins come in the order of their index, always.
    keys = [
        torch.topk(
            ((a - centers[:, 0]) ** 2 + b_squares) * 512 + torch.arange(len(BINS)),
            neighbors,
            largest=False,
        ).values
        for a in axis
    ]
    nearest = torch.cat(keys)
    # In float64, and less the nearest, so that no color is so far out that every share underflows.
    squares = (nearest // 512).double()
    shares = torch.softmax(-squares / (2 * sigma**2), dim=1)
    return (nearest % 512).long(), shares.float()


def _check_settings(neighbors: int, sigma: float, temperature: float, rebalance: float) -> None:
    numbers = {"sigma": sigma, "temperature": temperature, "rebalance": rebalance}
    for name, value in numbers.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ModelError(f"codebook grid313: {name} = {value!r} is no number")
    if not isinstance(neighbors, int) or not 1 <= neighbors <= len(BINS):
        raise ModelError(f"codebook grid313: neighbors = {neighbors!r} is not in 1..{len(BINS)}")
    if sigma <= 0 or temperature <= 0:
        raise ModelError("codebook grid313: sigma and temperature must be above 0")
    if not 0 <= rebalance <= 1:
        raise ModelError(f"codebook grid313: rebalance = {rebalance} is not in 0..1")


def smoothed_prior(
    histogram: npt.NDArray[np.integer[Any]], neighbors: int = 5, sigma: float = 5.0
) -> Tensor:
    """The share of each bin among the pixels: the mean of their soft encodings.

    The Gaussian of the soft encoding is the smoothing that the paper asks of its prior.

    Args:
        histogram: Pixel counts, (256, 256), at [a + 128, b + 128].
        neighbors: Bins of a soft encoding.
        sigma: Of its Gaussian, CIE units.

    Returns:
        float32 (313,), which sums to 1.

    Raises:
        ModelError: Another shape, a negative count, or no pixel at all.
    """
    usable = isinstance(histogram, np.ndarray) and histogram.shape == (256, 256)
    if not usable or histogram.min() < 0 or not 0 < histogram.sum() < math.inf:
        raise ModelError(
            "the ab histogram must hold how many pixels have each color, 256×256 counts, not all 0",
            "chromaflow preprocess",
        )
    counts = torch.from_numpy(histogram.astype(np.float64).reshape(-1))
    indices, shares = _soft_table(neighbors, sigma)
    prior = torch.zeros(len(BINS), dtype=torch.float64)
    prior.index_add_(0, indices.reshape(-1), (shares.double() * counts[:, None]).reshape(-1))
    return (prior / prior.sum()).float()


def rebalancing_weights(prior: Tensor, rebalance: float) -> Tensor:
    """Weights that let rare colors count, Eq. 4 of the paper.

    w ∝ ((1 − λ)·p + λ/Q)⁻¹ with Σ p·w = 1. A bin that never occurs weighs as much as the rarest
    that does where λ = 0 would make it infinite.

    Args:
        prior: p, (Q,), which sums to 1.
        rebalance: λ, 0..1: 1 weighs all bins alike.

    Returns:
        float32 (Q,).
    """
    mixed = (1 - rebalance) * prior.double() + rebalance / len(prior)
    weights = 1 / mixed.clamp(min=float(mixed[mixed > 0].min()))
    return (weights / (prior.double() * weights).sum()).float()


class Grid313(Codebook):
    """Classification over the 313 bins of the ab plane that photographs fill, on a grid of 10.

    Args:
        neighbors: Nearest bins of a soft encoding: 5 in the paper, 10 in its authors' code.
        sigma: Of the Gaussian over them, CIE units.
        temperature: T of the annealed mean: 1 gives the mean, towards 0 the mode.
        rebalance: λ, the share of the uniform distribution in the prior.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128]; without
            it prior and weights are uniform until a state dict brings them.

    Attributes:
        centers: Buffer (313, 2): a and b of each bin.
        prior: Buffer (313,): smoothed share of each bin among the training pixels.
        weights: Buffer (313,): what a pixel of each bin weighs in the loss; 1 on average.

    Raises:
        ModelError: A setting out of its range, or a histogram that is none.
    """

    centers: Tensor
    prior: Tensor
    weights: Tensor
    _indices: Tensor
    _shares: Tensor

    def __init__(
        self,
        *,
        neighbors: int = 5,
        sigma: float = 5.0,
        temperature: float = 0.38,
        rebalance: float = 0.5,
        histogram: npt.NDArray[np.integer[Any]] | None = None,
    ) -> None:
        super().__init__()
        _check_settings(neighbors, sigma, temperature, rebalance)
        self.neighbors, self.sigma = neighbors, float(sigma)
        self.temperature, self.rebalance = float(temperature), float(rebalance)
        self.channels = len(BINS)
        prior = torch.full((self.channels,), 1 / self.channels)
        weights = torch.ones(self.channels)
        if histogram is not None:
            prior = smoothed_prior(histogram, neighbors, self.sigma)
            weights = rebalancing_weights(prior, self.rebalance)
        indices, shares = _soft_table(neighbors, self.sigma)
        self.register_buffer("centers", torch.tensor(BINS, dtype=torch.float32))
        self.register_buffer("prior", prior)
        self.register_buffer("weights", weights)
        self.register_buffer("_indices", indices.clone(), persistent=False)
        self.register_buffer("_shares", shares.clone(), persistent=False)

    def _rows(self, ab: Tensor) -> Tensor:
        """Row of the tables for each pixel, int64 (B, h, w)."""
        if ab.ndim != 4 or ab.shape[1] != 2:
            raise ValueError(f"ab must be (B, 2, h, w), not {tuple(ab.shape)}")
        rounded = ab.detach().float().round().clamp(-128, 127).long() + 128
        return rounded[:, 0] * 256 + rounded[:, 1]

    def encode(self, ab: Tensor) -> SoftBins:
        """Soft encoding over the nearest bins, read from a table over integer colors.

        Stored pixels are integers and so encoded exactly. Other colors are taken for the nearest
        integers, at most 0.71 away: a fourteenth of the grid's step, and about what storing them
        has cost already. Colors beyond −128..127 are clamped. No gradient flows.

        Args:
            ab: (B, 2, h, w), CIE units.

        Raises:
            ValueError: Another shape.
        """
        rows = self._rows(ab)
        indices, shares = (
            nn.functional.embedding(rows, table).movedim(-1, 1)
            for table in (self._indices, self._shares)
        )
        return SoftBins(indices, shares)

    def decode(self, logits: Tensor) -> Tensor:
        """Annealed mean of the bins, Eq. 5 of the paper: softmax(logits / T) · centers.

        Args:
            logits: (B, 313, h, w).

        Returns:
            ab, float32 (B, 2, h, w), CIE units.
        """
        with torch.autocast(logits.device.type, enabled=False):
            shares = torch.softmax(logits.float() / self.temperature, dim=1)
            return torch.einsum("bqhw,qc->bchw", shares, self.centers)

    def config(self) -> dict[str, Any]:
        """Name and settings, fit for JSON and for `build_codebook(**config)`."""
        return {
            "name": "grid313",
            "neighbors": self.neighbors,
            "sigma": self.sigma,
            "temperature": self.temperature,
            "rebalance": self.rebalance,
        }
