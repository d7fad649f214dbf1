"""The U-Net of Isola et al. 2017, the generator of adversarial colorization (Nazeri 2018)."""

from typing import Any

import torch
from torch import Tensor, nn

from chromaflow.models.networks.base import Network, check_scale, repeated, scaled
from chromaflow.models.networks.parts.patchgan import initialize_normally

DROPPED = 3
"""Of how many layers on the way up half of the features are dropped in training."""


def _down(inputs: int, outputs: int, *, normalized: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.LeakyReLU(0.2),
        nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False),
    ]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(outputs)] if normalized else []))


def _up(inputs: int, outputs: int, *, dropped: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.ReLU(),
        nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.Dropout(0.5)] if dropped else []))


class UNet(Network):
    """Halve the image with 4×4 convolutions until little is left, and double it again.

    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
    section 6.1.1, and their program's sizes: C64-C128-C256-C512×5 down with leaky ReLU 0.2, as many
    up with ReLU, each joined by the features of its size from the way down; batch normalization
    except at the first, the deepest and the last convolution, and half of the features dropped in
    the first three on the way up. Nazeri et al., "Image Colorization Using Generative Adversarial
    Networks", 2018, color with it; Koo 2016 adversarially with a small network. The tanh at the end
    is the codebook's business. In use nothing is dropped, and the normalization is that of the
    training images: the published program drops and normalizes by the image there, too, as noise.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels over those that were published.
        depth: Levels over 8, those for images of 256; the deepest levels are left out first.

    Raises:
        ModelError: A width or depth out of range.
    """

    name = "unet"
    stride = 1

    def __init__(self, channels: int, *, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        check_scale(self.name, width=width, depth=depth)
        self.width, self.depth = float(width), float(depth)
        levels = repeated(8, depth)
        self.multiple = 2**levels
        sizes = [scaled(min(64 * 2**level, 512), width) for level in range(levels)]
        self.first = nn.Conv2d(1, sizes[0], 4, 2, 1, bias=False)
        self.down = nn.ModuleList(
            _down(sizes[level - 1], sizes[level], normalized=level < levels - 1)
            for level in range(1, levels)
        )
        self.up = nn.ModuleList(
            _up(
                sizes[level] if level == levels - 1 else 2 * sizes[level],
                sizes[level - 1],
                dropped=levels - 1 - level < DROPPED,
            )
            for level in range(levels - 1, 0, -1)
        )
        joined = sizes[0] * (2 if levels > 1 else 1)
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(joined, channels, 4, 2, 1))
        initialize_normally(self)

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H, W) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 2 to the number of levels.
        """
        features = [self.first(lightness / 50 - 1)]
        for down in self.down:
            features.append(down(features[-1]))
        x = features.pop()
        for up in self.up:
            x = torch.cat([up(x), features.pop()], dim=1)
        out: Tensor = self.last(x)
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width, "depth": self.depth}


NETWORK = UNet
