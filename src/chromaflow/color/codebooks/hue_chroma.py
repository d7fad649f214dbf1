"""Histograms of hue and of chroma: Larsson et al. 2016."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chromaflow.color.codebooks.bins import (
    BinnedCodebook,
    SoftBins,
    all_colors,
    check_positive,
    hard_table,
    rebalancing_weights,
    smoothed_prior,
)
from chromaflow.errors import ModelError

BINS = 32
"""Of hue, and of chroma."""
MAX_CHROMA = 134.0
"""The end of the last bin of chroma, CIE units; the blue of sRGB, its most chromatic, has 133.8."""
# Mean resultant length below which chroma fades: the 0.03 of the paper is of a mean over the bins.
_CERTAIN = 0.03 * BINS


def _relative_chroma(ab: Tensor) -> Tensor:
    """Chroma of (B, 2, h, w) as 0..1, (B, h, w)."""
    a, b = ab.detach().float().unbind(1)
    return (torch.hypot(a, b) / MAX_CHROMA).clamp(max=1)


class HueChroma(BinnedCodebook):
    """Two classifications of a pixel, of its hue and of its chroma, with hard targets.

    Larsson, Maire and Shakhnarovich, "Learning Representations for Automatic Colorization", ECCV
    2016: 32 bins of equal width each, and targets of one pixel (their R = 1), so that
    Kullback–Leibler divergence and cross-entropy are the same. The loss of hue counts λ_H = 5 times
    the pixel's chroma in 0..1, for the hue of a grey pixel means nothing. They have hue and chroma
    of HSV; here they are those of CIE Lab, the chroma over `MAX_CHROMA`, as lightness is Lab's in
    the whole project.

    Decoding the truth changes chroma by at most 2.1 and hue by at most 5.6°, besides the rounding
    of ab to whole numbers.

    Args:
        hue_weight: λ_H.
        fading: Less chroma where the hue is uncertain, the paper's chromatic fading.
        rebalance: λ, the share of the uniform distribution in the priors; 1, all colors alike, is
            the loss of the paper. The prior of hue counts pixels by their chroma, as the loss does.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128].

    Attributes:
        directions: Buffer (32, 2): cosine and sine of each bin of hue.

    Raises:
        ModelError: A setting that cannot be, or a histogram that is none.

    Example:
        >>> ab = torch.tensor([30.0, 40.0]).reshape(1, 2, 1, 1)  # hue 53.1°, chroma 50
        >>> hue, chroma = HueChroma().encode(ab)
        >>> hue.indices.item(), chroma.indices.item() - 32  # of 11.25° and of 4.19 units
        (4, 11)
    """

    name = "hue_chroma"
    directions: Tensor

    def __init__(
        self,
        *,
        hue_weight: float = 5.0,
        fading: bool = True,
        rebalance: float = 0.5,
        histogram: npt.NDArray[np.integer[Any]] | None = None,
    ) -> None:
        check_positive(self.name, hue_weight=hue_weight)
        if not isinstance(fading, bool):
            raise ModelError(f"codebook {self.name}: fading = {fading!r} is not true or false")
        a, b = all_colors().double().unbind(1)
        turn, relative = torch.atan2(b, a) / math.tau % 1, torch.hypot(a, b) / MAX_CHROMA
        tables = [
            hard_table((part * BINS).long().clamp(max=BINS - 1), BINS) for part in (turn, relative)
        ]
        super().__init__(tables, rebalance=rebalance, histogram=histogram)
        self.hue_weight, self.fading = float(hue_weight), fading
        angles = (torch.arange(BINS) + 0.5) * (math.tau / BINS)
        directions = torch.stack([angles.cos(), angles.sin()], dim=1)
        self.register_buffer("directions", directions, persistent=False)
        if histogram is not None:
            chromatic = histogram * relative.reshape(256, 256).numpy()
            # Where all pixels are grey, the loss of hue is 0 whatever its prior.
            if chromatic.any():
                self.prior[:BINS] = smoothed_prior(chromatic, tables[0])
                self.weights[:BINS] = rebalancing_weights(self.prior[:BINS], self.rebalance)

    def encode(self, ab: Tensor) -> tuple[SoftBins, ...]:
        """The bin of hue and the bin of chroma; a pixel weighs in hue by its chroma, too.

        Args:
            ab: (B, 2, h, w), CIE units.

        Raises:
            ValueError: Another shape.
        """
        hue, chroma = super().encode(ab)
        factor = self.hue_weight * _relative_chroma(ab)
        return hue._replace(weights=hue.weights * factor), chroma

    def decode(self, logits: Tensor) -> Tensor:
        """The circular mean of hue with the median of chroma.

        Of the mean z = Σ p·exp(iθ) of the directions of hue, the angle is the hue. With fading,
        chroma is multiplied by min(abs(z) / 0.96, 1): the paper writes max, but means this. The
        median is the point of its bin that halves the distribution, so it has a gradient nearly
        everywhere; that grows without bound where the median lies between two modes.

        Args:
            logits: (B, 64, h, w).

        Returns:
            ab, float32 (B, 2, h, w), CIE units.
        """
        with torch.autocast(logits.device.type, enabled=False):
            hue, chroma = (torch.softmax(part.float(), dim=1) for part in self.split(logits))
            mean = torch.einsum("bqhw,qc->bchw", hue, self.directions)
            # Grey where the directions cancel out, and a gradient all the same.
            least = _CERTAIN if self.fading else 1e-3
            length = torch.linalg.vector_norm(mean, dim=1, keepdim=True).clamp(min=least)
            ab: Tensor = _median(chroma) * (MAX_CHROMA / BINS) * mean / length
            return ab

    def config(self) -> dict[str, Any]:
        """Name and settings, fit for JSON and for `build_codebook(**config)`."""
        return {
            "name": self.name,
            "hue_weight": self.hue_weight,
            "fading": self.fading,
            "rebalance": self.rebalance,
        }


def _median(shares: Tensor) -> Tensor:
    """Median of distributions (B, bins, h, w) in bins from the start of the first, (B, 1, h, w).

    Bins below the median count whole, its own by the part below it, and those above not at all. The
    sums are a product of matrices, for a cumulative sum is not deterministic on every device.
    """
    bins = shares.shape[1]
    before = torch.ones(bins, bins, device=shares.device).triu(1)
    below = torch.einsum("bqhw,qk->bkhw", shares, before)
    return ((0.5 - below) / shares.clamp(min=1e-12)).clamp(0, 1).sum(dim=1, keepdim=True)
