"""Liang et al. 2016: a patch-wise network of few convolutions, one for each plane of color."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.networks.base import Network, check_scale, scaled

KERNELS = (11, 4, 4, 3)
"""Of the hidden convolutions; a 1×1 follows."""
MARGIN = sum(kernel - 1 for kernel in KERNELS) // 2
"""Pixels that decide the color of a pixel, on each side of it."""


def _plane(channels: int, inner: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, kernel in zip((1, *[inner] * len(KERNELS)), KERNELS, strict=False):
        layers += [nn.Conv2d(inputs, inner, kernel), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(inner, channels, 1))


class PatchwiseVCNN(Network):
    """Convolutions of 11×11, 4×4, 3×3 and 1×1 without pooling, and two such networks.

    Liang et al., "Deep Patch-wise Colorization Model for Grayscale Images", SIGGRAPH Asia 2016
    Technical Briefs, on vectorized convolutional networks (VCNN; Ren and Xu, AAAI 2015), which
    compute what convolutions do. From a grey patch of 64×64 it gives the color of the central
    56×56, shaped after VGG, with kernels of 11×11, 4×4, 3×3 and 1×1, and a network of its own for
    each of the two planes of color, whose features are never shared.

    How many layers and channels they take is not at hand. One 11×11 that keeps the size, two
    4×4 and one 3×3 that do not make 56 of 64, and only an even number of 4×4 leaves the pixel in
    the middle of what it sees: so it is here, with VGG's first 64 channels and ReLU. Patches side
    by side are one convolution over the image; instead of patches that lack a margin the image goes
    on with the grey of its edge, so that all of it is colored. Each pixel sees 19×19.

    Args:
        channels: Channels of the output, those of the codebook; half of them to each network.
        width: Channels inside over 64.

    Raises:
        ModelError: A width out of range.
    """

    name = "vcnn"
    stride = 1
    multiple = 1
    receptive_field = 2 * MARGIN + 1

    def __init__(self, channels: int, *, width: float = 1.0) -> None:
        super().__init__()
        check_scale(self.name, width=width)
        self.width, inner = float(width), scaled(64, width)
        self.planes = nn.ModuleList(
            _plane(part, inner) for part in (channels - channels // 2, channels // 2)
        )

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H, W) of lightness (B, 1, H, W), 0..100."""
        x = F.pad(lightness / 50 - 1, (MARGIN,) * 4, mode="replicate")
        return torch.cat([plane(x) for plane in self.planes], dim=1)

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width}


NETWORK = PatchwiseVCNN
