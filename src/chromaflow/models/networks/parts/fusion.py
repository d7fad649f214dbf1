"""What networks share that join features of each place with a vector of the whole picture.

The layers of Iizuka et al. 2016, which Baldassarre et al. 2017 took over but for the vector.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.networks.base import scaled


class Layer(NamedTuple):
    """A convolution of 3×3: its channels as published, and its stride."""

    channels: int
    stride: int = 1


LOW_LEVEL = (Layer(64, 2), Layer(128), Layer(128, 2), Layer(256), Layer(256, 2), Layer(512))
"""From the picture to an eighth of its size."""


def convolution(
    inputs: int, outputs: int, *, stride: int = 1, normalized: bool = False
) -> nn.Sequential:
    """Convolution of 3×3 with ReLU.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        stride: 1 or 2.
        normalized: Normalize over the batch before the ReLU, in place of a bias.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not normalized)
    ]
    if normalized:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def encoder(
    inputs: int, layers: Sequence[Layer], width: float, *, normalized: bool
) -> nn.Sequential:
    """Convolutions one after the other.

    Args:
        inputs: Channels in.
        layers: As published.
        width: Channels over those.
        normalized: As of `convolution`.
    """
    outputs = [scaled(layer.channels, width) for layer in layers]
    return nn.Sequential(
        *(
            convolution(before, after, stride=layer.stride, normalized=normalized)
            for before, after, layer in zip([inputs, *outputs], outputs, layers, strict=False)
        )
    )


def decoder(channels: int, width: float, *, normalized: bool) -> nn.Sequential:
    """From 256 fused channels at an eighth of the picture's size to the output at half of it.

    128, double, 64, 64, double, 32, output; the grid is doubled by repeating its pixels.

    Args:
        channels: Of the output, which is linear.
        width: All other channels over those published.
        normalized: As of `convolution`; the output never is.
    """
    fused, first, second, third = (scaled(number, width) for number in (256, 128, 64, 32))
    return nn.Sequential(
        convolution(fused, first, normalized=normalized),
        nn.Upsample(scale_factor=2),
        convolution(first, second, normalized=normalized),
        convolution(second, second, normalized=normalized),
        nn.Upsample(scale_factor=2),
        convolution(second, third, normalized=normalized),
        nn.Conv2d(third, channels, 3, padding=1),
    )


class Fusion(nn.Conv2d):
    """Convolution of 1×1 over a grid of features and one vector that stands at every place of it.

    The vector is multiplied once and not at every place, which gives the same.

    Args:
        grid: Channels of the grid.
        vector: Length of the vector.
        outputs: Channels out.
    """

    def __init__(self, grid: int, vector: int, outputs: int) -> None:
        super().__init__(grid + vector, outputs, 1)
        self.grid = grid

    def forward(self, features: Tensor, vector: Tensor) -> Tensor:  # type: ignore[override]
        """Linear output (B, outputs, h, w) of (B, grid, h, w) and (B, vector)."""
        everywhere = F.linear(vector, self.weight[:, self.grid :, 0, 0], self.bias)
        return F.conv2d(features, self.weight[:, : self.grid]) + everywhere[:, :, None, None]
