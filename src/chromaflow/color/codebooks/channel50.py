"""Classification of a and of b, each by itself: the 50 bins a channel of Hwang and Zhou 2016."""

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
    check_positive,
    hard_table,
)

_EXTENT = 220


def _nearest(values: Tensor, bins: int) -> Tensor:
    """Bin of whole numbers, in integers, so that nothing rounds; between two it is the upper."""
    position = torch.div(2 * bins * values.long() + _EXTENT, 2 * _EXTENT, rounding_mode="floor")
    return (position + bins // 2).clamp(0, bins - 1)


class Channel50(BinnedCodebook):
    """Two classifications of a pixel, of a and of b, over bins of equal width, with hard targets.

    Hwang and Zhou, "Image Colorization with Deep Convolutional Neural Networks", 2016. Where
    their bins lie is chosen here: 220 CIE units in all, so 4.4 each for 50, with 0 as the center of
    bin `bins` // 2, so that grey stays grey. From −112.2 to 107.8 they cover all of sRGB, whose
    a goes from −86.2 to 98.3 and b from −107.9 to 94.5. Decoding the truth changes a and b by half
    a bin at most, and by another half where they are not whole numbers.

    Args:
        bins: Of each channel.
        temperature: T of the annealed mean: 1 gives the mean, towards 0 the mode.
        rebalance: λ, the share of the uniform distribution in the priors of a and of b; 1 weighs
            all colors alike.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128].

    Attributes:
        centers: Buffer (bins, 1): a or b of each bin.

    Raises:
        ModelError: A setting out of its range, or a histogram that is none.

    Example:
        >>> codebook, ab = Channel50(), torch.tensor([20.0, -31.0]).reshape(1, 2, 1, 1)
        >>> [target.indices.item() for target in codebook.encode(ab)]  # each 4.4 wide; 0 is in 25
        [30, 68]
        >>> codebook.decode(codebook.ideal_logits(ab)).flatten()
        tensor([ 22.0000, -30.8000])
    """

    name = "channel50"
    centers: Tensor

    def __init__(
        self,
        *,
        bins: int = 50,
        temperature: float = 0.38,
        rebalance: float = 0.5,
        histogram: npt.NDArray[np.integer[Any]] | None = None,
    ) -> None:
        check_count(self.name, 2, 256, bins=bins)
        check_positive(self.name, temperature=temperature)
        tables: list[BinTable] = [
            hard_table(_nearest(values, bins), bins) for values in all_colors().unbind(1)
        ]
        super().__init__(tables, rebalance=rebalance, histogram=histogram)
        self.bins, self.temperature = bins, float(temperature)
        centers = (torch.arange(bins) - bins // 2)[:, None] * (_EXTENT / bins)
        self.register_buffer("centers", centers, persistent=False)

    def decode(self, logits: Tensor) -> Tensor:
        """Annealed mean of the bins of each channel.

        Args:
            logits: (B, 2 · bins, h, w).

        Returns:
            ab, float32 (B, 2, h, w), CIE units.
        """
        means = [annealed_mean(z, self.centers, self.temperature) for z in self.split(logits)]
        return torch.cat(means, dim=1)

    def config(self) -> dict[str, Any]:
        """Name and settings, fit for JSON and for `build_codebook(**config)`."""
        return {
            "name": self.name,
            "bins": self.bins,
            "temperature": self.temperature,
            "rebalance": self.rebalance,
        }
