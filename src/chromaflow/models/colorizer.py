"""Network and codebook as one model: lightness in, color out."""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.color.base import Codebook


class Network(Protocol):
    """What a network must offer beside being an `nn.Module` on (B, 1, H, W) lightness, 0..100."""

    stride: int
    """Side of a pixel of its output, in pixels of its input."""
    multiple: int
    """The sides of its input are multiples of this."""

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""


class Colorizer(nn.Module):
    """A network that predicts color in the terms of a codebook.

    Args:
        network: Gives `codebook.channels` channels at a fraction of its input's size.
        codebook: Turns them to color.
    """

    def __init__(self, network: nn.Module, codebook: Codebook) -> None:
        super().__init__()
        self.network = network
        self.codebook = codebook
        # The order of memory in which convolutions on the CPU and on recent GPUs are fastest.
        self.to(memory_format=torch.channels_last)

    @property
    def stride(self) -> int:
        """Side of a pixel of the network's output, in pixels of its input."""
        return int(self.network.stride)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """What `forward` needs the sides of its input to be multiples of."""
        return int(self.network.multiple)  # type: ignore[arg-type]

    def forward(self, lightness: Tensor) -> Tensor:
        """Logits in the terms of the codebook.

        Args:
            lightness: (B, 1, H, W), 0..100; H and W multiples of `multiple`.

        Returns:
            (B, codebook.channels, H / stride, W / stride).
        """
        logits: Tensor = self.network(lightness)
        return logits

    def predict_ab(self, lightness: Tensor) -> Tensor:
        """Color at the size of the input.

        Sides that are no multiples of `multiple` are filled up by mirroring. The color of the
        small output is enlarged bilinearly.

        Args:
            lightness: (B, 1, H, W), 0..100; H and W at least `multiple`.

        Returns:
            ab, float32 (B, 2, H, W), CIE units.

        Raises:
            ValueError: Another shape, or a side under `multiple`.
        """
        if (
            lightness.ndim != 4
            or lightness.shape[1] != 1
            or min(lightness.shape[2:]) < self.multiple
        ):
            raise ValueError(
                f"lightness must be (B, 1, H, W) with sides of {self.multiple} or more, "
                f"not {tuple(lightness.shape)}"
            )
        height, width = lightness.shape[2:]
        filled = (0, -width % self.multiple, 0, -height % self.multiple)
        logits = self(F.pad(lightness, filled, mode="reflect") if any(filled) else lightness)
        return self.color(logits)[..., :height, :width].contiguous()

    def color(self, logits: Tensor) -> Tensor:
        """Color of the output of `forward`, at the size of its input.

        Args:
            logits: (B, codebook.channels, h, w).

        Returns:
            ab, float32 (B, 2, h · stride, w · stride), CIE units.
        """
        ab = self.codebook.decode(logits)
        scale = float(self.stride)
        return F.interpolate(ab, scale_factor=scale, mode="bilinear", align_corners=False)

    def config(self) -> dict[str, Any]:
        """Names and sizes of network and codebook, fit for JSON."""
        return {"network": self.network.config(), "codebook": self.codebook.config()}  # type: ignore[operator]
