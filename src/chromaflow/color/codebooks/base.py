"""What every codebook can do."""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn


class Codebook(nn.Module, ABC):
    """Encodes color as a training target and decodes a network's output to color.

    What a codebook learns from the training data lies in its buffers, which travel in the state
    dict; what it is set to lies in `config`. Both together rebuild it without the data.

    Attributes:
        name: By which recipes and model folders know it.
        channels: How many channels the network has to give.

    Example:
        >>> from chromaflow.color.codebooks.registry import build_codebook
        >>> codebook, ab = build_codebook("regression"), torch.full((1, 2, 4, 4), 20.0)
        >>> codebook.channels, codebook.decode(codebook.ideal_logits(ab))[0, :, 0, 0].round()
        (2, tensor([20., 20.]))
    """

    name = ""
    channels: int

    @classmethod
    def from_statistics(
        cls, histogram: npt.NDArray[np.integer[Any]] | None, **settings: Any
    ) -> Self:
        """Build from the color statistics of the training pixels.

        Args:
            histogram: Pixel counts, (256, 256), at [a + 128, b + 128]; None where the state dict
                brings what the data would.
            settings: Keyword arguments of the class, those of `config` less the name.

        Raises:
            ModelError: A setting or a histogram that cannot be.
        """
        return cls(histogram=histogram, **settings)

    @abstractmethod
    def encode(self, ab: Tensor) -> Any:
        """Color as a training target, of the codebook's own type.

        Args:
            ab: (B, 2, h, w), CIE units.
        """

    @abstractmethod
    def ideal_logits(self, ab: Tensor) -> Tensor:
        """The output of a network that knew the color: decoded, the best this codebook can do.

        Args:
            ab: (B, 2, h, w), CIE units.

        Returns:
            float32 (B, channels, h, w).
        """

    @abstractmethod
    def decode(self, logits: Tensor) -> Tensor:
        """Color of a network's output.

        Args:
            logits: (B, channels, h, w).

        Returns:
            ab, float32 (B, 2, h, w), CIE units.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Name and settings, fit for JSON and for `build_codebook(**config)`."""
