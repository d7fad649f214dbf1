"""Direct regression of ab: the codebook without classes."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chromaflow.color.codebooks.base import Codebook
from chromaflow.color.codebooks.bins import check_positive
from chromaflow.errors import ModelError

_INSIDE = 1 - 1e-6


class Regression(Codebook):
    """The network gives a and b themselves, scaled, and through a tanh where that is bounded.

    Lakhani's attention fusion multiplies a tanh by 128; Deep Koalarization learns ab / 128 with a
    tanh, which is the same. Iizuka et al. 2016 end in a sigmoid on ab that is scaled to 0..1: since
    2·sigmoid(2x) − 1 = tanh(x), that is this codebook, too, but for the scale of the last layer.

    Args:
        ab_range: a and b, CIE units, of an output of 1.
        bounded: ab = ab_range · tanh(x) instead of ab = ab_range · x.

    Raises:
        ModelError: A setting that cannot be.

    Example:
        >>> output = torch.tensor([0.5, -9.0]).reshape(1, 2, 1, 1)
        >>> Regression().decode(output).flatten()
        tensor([  59.1510, -128.0000])
        >>> Regression(bounded=False).decode(output).flatten()
        tensor([   64., -1152.])
    """

    name = "regression"
    channels = 2

    def __init__(self, *, ab_range: float = 128.0, bounded: bool = True) -> None:
        super().__init__()
        check_positive(self.name, ab_range=ab_range)
        if not isinstance(bounded, bool):
            raise ModelError(f"codebook {self.name}: bounded = {bounded!r} is not true or false")
        self.ab_range, self.bounded = float(ab_range), bounded

    @classmethod
    def from_statistics(
        cls,
        histogram: npt.NDArray[np.integer[Any]] | None,  # noqa: ARG003
        **settings: Any,
    ) -> Self:
        """Build from settings; the statistics of the colors change nothing here.

        Args:
            histogram: Of any kind.
            settings: Keyword arguments of the class.

        Raises:
            ModelError: A setting that cannot be.
        """
        return cls(**settings)

    def encode(self, ab: Tensor) -> Tensor:
        """What the published losses compare with: ab over its range.

        Args:
            ab: (B, 2, h, w), CIE units.

        Returns:
            float32 (B, 2, h, w).
        """
        return ab.float() / self.ab_range

    def ideal_logits(self, ab: Tensor) -> Tensor:
        """The output that decodes to ab.

        Where tanh bounds it, colors from 0.999999 of the range on are taken for just that.

        Args:
            ab: (B, 2, h, w), CIE units.

        Returns:
            float32 (B, 2, h, w).
        """
        scaled = self.encode(ab)
        return scaled.clamp(-_INSIDE, _INSIDE).atanh() if self.bounded else scaled

    def decode(self, logits: Tensor) -> Tensor:
        """Color of the output.

        Args:
            logits: (B, 2, h, w).

        Returns:
            ab, float32 (B, 2, h, w), CIE units.
        """
        scaled = logits.float()
        return self.ab_range * (torch.tanh(scaled) if self.bounded else scaled)

    def config(self) -> dict[str, Any]:
        """Name and settings, fit for JSON and for `build_codebook(**config)`."""
        return {"name": self.name, "ab_range": self.ab_range, "bounded": self.bounded}
