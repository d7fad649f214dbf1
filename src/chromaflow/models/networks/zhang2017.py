"""Zhang et al., "Real-Time User-Guided Image Colorization with Learned Deep Priors", 2017."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chromaflow.color.codebooks.grid import ALL_BINS
from chromaflow.models.networks.base import Hints, Network, Outputs, check_scale, repeated, scaled

GLOBAL_HINTS = 316
"""Numbers that describe a picture as a whole, as of `Hints.global_hints`."""
_GLOBAL_LAYERS = 4
_LIGHTNESS_MIDDLE, _LIGHTNESS_SCALE, _AB_SCALE = 50.0, 100.0, 110.0


class _Block(nn.Sequential):
    """3×3 convolutions, each with ReLU; then normalization over the batch."""

    def __init__(self, inputs: int, outputs: int, layers: int, *, dilation: int = 1) -> None:
        parts: list[nn.Module] = []
        for layer in range(layers):
            before = inputs if layer == 0 else outputs
            parts.append(nn.Conv2d(before, outputs, 3, padding=dilation, dilation=dilation))
            parts.append(nn.ReLU(inplace=True))
        super().__init__(*parts, nn.BatchNorm2d(outputs))


class _Joint(nn.Module):
    """Features at twice their size, plus those of a skip connection, then ReLU."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.skip = nn.Conv2d(skipped, outputs, 3, padding=1)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """(B, inputs, h, w) and (B, skipped, 2h, 2w) to (B, outputs, 2h, 2w)."""
        return torch.relu(self.up(x) + self.skip(skipped))


class UserGuided(Network):
    """Local and global hints of a user, spread over the picture by a U-Net of ten blocks.

    Blocks 1 to 4 halve the size three times by leaving out pixels, 5 and 6 are dilated, 8 to 10
    double it again and add what blocks 3, 2 and 1 saw. A hint enters beside the lightness: its ab
    where there is one, and a mask, 0 or 1. The lightness enters as (L − 50) / 100 and ab over 110,
    as in the authors' code. Global hints pass four 1×1 convolutions of 512 channels and are added
    to the features of block 4 (Section 3.3). Without any guide all hints are zeros.

    Beside color the network suggests: 529 bins of color at a quarter of the size. The paper reads
    them from several layers by two layers of its own; here, as in the code that the authors
    published, one layer reads them from block 8, where the deep features meet those of block 3.
    Either way no gradient of them reaches the rest (Section 3.2).

    Local part and heads have 34.2 M parameters at two channels, the global part another 0.95 M.
    The paper trains the two parts as two networks; here they are one, which is given either kind of
    hint, both, or none.

    Args:
        channels: Channels of the output, those of the codebook: two of regression, as published.
        width: Channels over those that were published.
        depth: Convolutions of a block over those that were published.

    Raises:
        ModelError: A width or depth out of range.
    """

    name = "zhang2017"
    stride = 1
    multiple = 8
    guide = Hints

    def __init__(self, channels: int, *, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        check_scale(self.name, width=width, depth=depth)
        self.width, self.depth = float(width), float(depth)
        c64, c128, c256, c512 = (scaled(number, width) for number in (64, 128, 256, 512))
        one, two, three = (repeated(layers, depth) for layers in (1, 2, 3))
        self.block1 = _Block(4, c64, two)
        self.block2 = _Block(c64, c128, two)
        self.block3 = _Block(c128, c256, three)
        self.block4 = _Block(c256, c512, three)
        self.overall = _pointwise([GLOBAL_HINTS, *[c512] * _GLOBAL_LAYERS])
        self.deep = nn.Sequential(
            _Block(c512, c512, three, dilation=2),
            _Block(c512, c512, three, dilation=2),
            _Block(c512, c512, three),
        )
        self.joint8, self.block8 = _Joint(c512, c256, c256), _Block(c256, c256, two)
        self.joint9, self.block9 = _Joint(c256, c128, c128), _Block(c128, c128, one)
        self.joint10 = _Joint(c128, c64, c128)
        self.block10 = nn.Sequential(nn.Conv2d(c128, c128, 3, padding=1), nn.LeakyReLU(0.2))
        self.head = nn.Conv2d(c128, channels, 1)
        self.suggestions = nn.Conv2d(c256, len(ALL_BINS), 1)

    def _features(self, lightness: Tensor, guide: Hints | None) -> tuple[Tensor, Tensor]:
        """Features of blocks 8, (B, 256, H/4, W/4), and 10, (B, 128, H, W)."""
        batch = lightness.shape[0]
        if guide is None:
            local = torch.zeros_like(lightness).expand(-1, 3, -1, -1)
            global_hints = lightness.new_zeros(batch, GLOBAL_HINTS)
        else:
            local, global_hints = guide
        light = (lightness - _LIGHTNESS_MIDDLE) / _LIGHTNESS_SCALE
        x1 = self.block1(torch.cat((light, local[:, :2] / _AB_SCALE, local[:, 2:]), dim=1))
        x2 = self.block2(x1[:, :, ::2, ::2])
        x3 = self.block3(x2[:, :, ::2, ::2])
        x4 = self.block4(x3[:, :, ::2, ::2]) + self.overall(global_hints[:, :, None, None])
        x8 = self.block8(self.joint8(self.deep(x4), x3))
        x9 = self.block9(self.joint9(x8, x2))
        return x8, self.block10(self.joint10(x9, x1))

    def forward(self, lightness: Tensor, guide: Hints | None = None) -> Tensor:
        """Logits (B, channels, H, W) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 8. The tanh that the paper ends with is the codebook's.
        """
        out: Tensor = self.head(self._features(lightness, guide)[1])
        return out

    def outputs(self, lightness: Tensor, guide: Hints | None = None) -> Outputs:
        """The same, and logits of the 529 bins, (B, 529, H / 4, W / 4), under "suggestions"."""
        x8, x10 = self._features(lightness, guide)
        return Outputs(self.head(x10), None, {"suggestions": self.suggestions(x8.detach())})

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width, "depth": self.depth}


def _pointwise(sizes: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layer = nn.Conv2d(inputs, outputs, 1)
        # Nothing normalizes here: torch's own default would let the hints fade from layer to layer.
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


NETWORK = UserGuided
