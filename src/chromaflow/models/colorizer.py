"""Network and codebook as one model: lightness in, color out."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.color.codebooks.base import Codebook
from chromaflow.errors import ModelError
from chromaflow.models.networks.base import Guide, Hints, Network, Reference
from chromaflow.refine import refine as refine_color
from chromaflow.settings.system import SIZE


class Colorizer(nn.Module):
    """A network that predicts color in the terms of a codebook.

    Args:
        network: Gives `codebook.channels` channels at a fraction of its input's size.
        codebook: Turns them to color.
        refine: What refines the color by the lightness.
        size: The shorter side at which it is meant to predict the color of a picture, pixels.
    """

    def __init__(
        self, network: Network, codebook: Codebook, refine: str = "none", size: int = SIZE
    ) -> None:
        super().__init__()
        self.network = network
        self.codebook = codebook
        self.refine = refine
        self.size = size
        # The order of memory in which convolutions on the CPU and on recent GPUs are fastest.
        self.to(memory_format=torch.channels_last)

    @property
    def name(self) -> str:
        """Of the network."""
        return self.network.name

    @property
    def guide(self) -> type[Hints] | type[Reference] | None:
        """The type that it can be guided by, or None."""
        return self.network.guide

    @property
    def stride(self) -> int:
        """Side of a pixel of the network's output, in pixels of its input."""
        return self.network.stride

    @property
    def multiple(self) -> int:
        """What `forward` needs the sides of its input to be multiples of."""
        return self.network.multiple

    def forward(self, lightness: Tensor, guide: Guide | None = None) -> Tensor:
        """Logits in the terms of the codebook.

        Args:
            lightness: (B, 1, H, W), 0..100; H and W multiples of `multiple`.
            guide: Of the type that the network is guided by, or None.

        Returns:
            (B, codebook.channels, H / stride, W / stride).
        """
        logits: Tensor = self.network(lightness, guide)
        return logits

    def predict_ab(
        self, lightness: Tensor, guide: Guide | None = None, *, refine: str | None = None
    ) -> Tensor:
        """Color at the size of the input, refined.

        Sides that are not multiples of `multiple` are filled up by mirroring. The color of the
        small output is enlarged bilinearly.

        Args:
            lightness: (B, 1, H, W), 0..100.
            guide: Of the type that the network is guided by, or None.
            refine: Another refinement than the model's own, one of `chromaflow.refine.REFINEMENTS`.

        Returns:
            ab, float32 (B, 2, H, W), CIE units.

        Raises:
            ValueError: Another shape.
            ModelError: A guide that the network cannot follow.
        """
        if lightness.ndim != 4 or lightness.shape[1] != 1:
            raise ValueError(f"lightness must be (B, 1, H, W), not {tuple(lightness.shape)}")
        if guide is not None and type(guide) is not self.guide:
            raise ModelError(
                f"the network {self.name} takes no {type(guide).__name__.lower()}.",
                "give a model of a network that does; docs/systems.md lists them",
            )
        height, width = lightness.shape[2:]
        filled = fill(lightness, self.multiple)
        if guide is not None:
            guide = type(guide)(
                *(fill(part, self.multiple) if part.ndim == 4 else part for part in guide)
            )
        ab = self.color(self(filled, guide))[..., :height, :width].contiguous()
        return refine_color(refine or self.refine, lightness, ab)

    def color(self, logits: Tensor) -> Tensor:
        """Color of the output of `forward`, at the size of its input.

        Args:
            logits: (B, codebook.channels, h, w).

        Returns:
            ab, float32 (B, 2, h · stride, w · stride), CIE units.
        """
        return self.enlarge(self.codebook.decode(logits))

    def enlarge(self, ab: Tensor) -> Tensor:
        """Color (B, 2, h, w) at the size of the input, bilinearly."""
        if self.stride == 1:
            return ab
        scale = float(self.stride)
        return F.interpolate(ab, scale_factor=scale, mode="bilinear", align_corners=False)

    def config(self) -> dict[str, Any]:
        """Names and sizes of network and codebook, and how it is used, fit for JSON."""
        return {
            "network": self.network.config(),
            "codebook": self.codebook.config(),
            "refine": self.refine,
            "size": self.size,
        }


def fill(planes: Tensor, multiple: int) -> Tensor:
    """Mirror images (B, C, H, W) at their right and lower edge until H and W are multiples."""
    height, width = planes.shape[2:]
    right, below = -width % multiple, -height % multiple
    if not (right or below):
        return planes
    # Only what is larger than the margin can be mirrored.
    mode = "reflect" if right < width and below < height else "replicate"
    return F.pad(planes, (0, right, 0, below), mode=mode)
