"""Bins on a grid of 10 over the ab plane: the 313 of Zhang 2016, and all 529 of Zhang 2017."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chromaflow.color.codebooks.bins import (
    BinnedCodebook,
    BinTable,
    annealed_mean,
    check_count,
    check_positive,
)

Colors = tuple[tuple[int, int], ...]

# The published range of b, both ends included, for a = −90, −80, …, 100.
_B_RANGES = (
    *((50, 90), (20, 90), (0, 90), (-20, 90), (-30, 100), (-40, 100), (-50, 100), (-50, 100)),
    *((-60, 100), (-70, 100), (-80, 90), (-80, 90), (-90, 90), (-100, 90), (-100, 80), (-110, 80)),
    *((-110, 80), (-110, 70), (-110, 70), (-90, 0)),
)
BINS: Colors = tuple(
    (a, b)
    for a, (low, high) in zip(range(-90, 101, 10), _B_RANGES, strict=True)
    for b in range(low, high + 1, 10)
)
"""Centres (a, b) of the 313 bins, in the order of the published model."""
ALL_BINS: Colors = tuple((a, b) for a in range(-110, 111, 10) for b in range(-110, 111, 10))
"""Centres of the 529 bins of the whole plane, Zhang et al. 2017."""


@functools.lru_cache(maxsize=4)
def soft_table(bins: Colors, neighbors: int, sigma: float) -> BinTable:
    """Soft encoding of every integer color over its nearest bins.

    Args:
        bins: Their centres.
        neighbors: How many of them.
        sigma: Of the Gaussian over them, CIE units.

    Example:
        >>> table = soft_table(((0, 0), (10, 0), (20, 0)), neighbors=2, sigma=5.0)
        >>> color = (5 + 128) * 256 + 0 + 128  # ab (5, 0), halfway between the first two
        >>> table.indices[color].tolist(), table.shares[color].tolist()
        ([0, 1], [0.5, 0.5])
    """
    centers = torch.tensor(bins, dtype=torch.int32)
    axis = torch.arange(-128, 128, dtype=torch.int32)
    b_squares = (axis[:, None] - centers[:, 1]) ** 2
    # Distance and bin in one integer: equally near bins come in the order of their index, always.
    keys = [
        torch.topk(
            ((a - centers[:, 0]) ** 2 + b_squares) * 1024 + torch.arange(len(bins)),
            neighbors,
            largest=False,
        ).values
        for a in axis
    ]
    nearest = torch.cat(keys)
    # In float64, and less the nearest, so that no color is so far out that every share underflows.
    squares = (nearest // 1024).double()
    shares = torch.softmax(-squares / (2 * sigma**2), dim=1)
    return BinTable(len(bins), (nearest % 1024).long(), shares.float())


class Grid(BinnedCodebook):
    """Classification over bins on a grid of 10 over the ab plane.

    Args:
        neighbors: Nearest bins of a soft encoding: 5 in the paper, 10 in its authors' code.
        sigma: Of the Gaussian over them, CIE units.
        temperature: T of the annealed mean: 1 gives the mean, towards 0 the mode.
        rebalance: λ, the share of the uniform distribution in the prior.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128].

    Attributes:
        centers: Buffer (channels, 2): a and b of each bin.

    Raises:
        ModelError: A setting out of its range, or a histogram that is none.

    Example:
        >>> codebook, ab = Grid313(neighbors=1), torch.tensor([22.0, -31.0]).reshape(1, 2, 1, 1)
        >>> (target,) = codebook.encode(ab)
        >>> codebook.centers[target.indices.item()]
        tensor([ 20., -30.])
    """

    bins: Colors = ()
    centers: Tensor

    def __init__(
        self,
        *,
        neighbors: int = 5,
        sigma: float = 5.0,
        temperature: float = 0.38,
        rebalance: float = 0.5,
        histogram: npt.NDArray[np.integer[Any]] | None = None,
    ) -> None:
        check_positive(self.name, sigma=sigma, temperature=temperature)
        check_count(self.name, 1, len(self.bins), neighbors=neighbors)
        table = soft_table(self.bins, neighbors, float(sigma))
        super().__init__([table], rebalance=rebalance, histogram=histogram)
        self.neighbors, self.sigma = neighbors, float(sigma)
        self.temperature = float(temperature)
        self.register_buffer("centers", torch.tensor(self.bins, dtype=torch.float32))

    def decode(self, logits: Tensor) -> Tensor:
        """Annealed mean of the bins.

        Args:
            logits: (B, channels, h, w).

        Returns:
            ab, float32 (B, 2, h, w), CIE units.
        """
        return annealed_mean(logits, self.centers, self.temperature)

    def config(self) -> dict[str, Any]:
        """Name and settings, fit for JSON and for `build_codebook(**config)`."""
        return {
            "name": self.name,
            "neighbors": self.neighbors,
            "sigma": self.sigma,
            "temperature": self.temperature,
            "rebalance": self.rebalance,
        }


class Grid313(Grid):
    """The 313 bins of Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016.

    Example:
        >>> codebook = Grid313()
        >>> codebook.decode(torch.zeros(1, 313, 4, 4)).shape
        torch.Size([1, 2, 4, 4])
    """

    name = "grid313"
    bins = BINS


class Grid529(Grid):
    """All 529 bins of the plane: Zhang et al., "Real-Time User-Guided Colorization", 2017.

    Example:
        >>> codebook = Grid529()
        >>> codebook.channels, codebook.centers.aminmax(dim=0).max
        (529, tensor([110., 110.]))
    """

    name = "grid529"
    bins = ALL_BINS
