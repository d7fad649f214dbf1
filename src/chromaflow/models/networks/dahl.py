"""Dahl, "Automatic Colorization", 2016, tinyclouds.org/colorize: the residual encoder."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.backbones.timm import NONE, build_backbone
from chromaflow.models.networks.base import Network, check_scale, scaled

_LEVELS = (64, 128, 256)


def _convolve(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Dahl(Network):
    """VGG16 to conv4_3 and, from its deepest map up, 3×3 convolutions with additive skips.

    Published: conv4_3, normalized over the batch, by 1×1 to 256 channels; twice the size, and
    conv3_3 added, normalized; 128 channels, twice the size, conv2_2; 64, twice the size, conv1_2;
    3, and the grey picture in red, green and blue; 3; 2. The last layer gave U and V through a
    sigmoid; here it is linear and the codebook's business.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels of the decoder, over those published.
        backbone: Its four finest strides are the encoder, and its finest one that of the output: 1
            of VGG, 2 of most others; the grey picture is shrunk to that. Where its channels are not
            the decoder's a 1×1 convolution lies in the skip.
        weights: Of the backbone, as of `build_backbone`.
        folded: As of `build_backbone`.

    Raises:
        ModelError: A width out of range, or a backbone that cannot be had.
    """

    name = "dahl"
    multiple = 32

    def __init__(
        self,
        channels: int,
        *,
        width: float = 1.0,
        backbone: str = "vgg16",
        weights: str = NONE,
        folded: bool | None = None,
    ) -> None:
        super().__init__()
        check_scale(self.name, width=width)
        self.width = float(width)
        self.backbone = build_backbone(backbone, weights, folded=folded, levels=4)
        self.stride = self.backbone.strides[0]
        *skipped, deepest = self.backbone.channels
        inner = [scaled(level, width) for level in _LEVELS]
        narrow = scaled(3, width)
        self.deepest = nn.Sequential(
            nn.BatchNorm2d(deepest), nn.Conv2d(deepest, inner[2], 1), nn.ReLU(inplace=True)
        )
        self.skips = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(given),
                nn.Identity() if given == level else nn.Conv2d(given, level, 1),
            )
            for given, level in zip(skipped, inner, strict=True)
        )
        self.layers = nn.ModuleList(
            _convolve(level, above)
            for level, above in zip(inner, (narrow, *inner[:2]), strict=True)
        )
        self.grey = nn.BatchNorm2d(narrow)
        self.last = _convolve(narrow, narrow)
        self.head = nn.Conv2d(narrow, channels, 3, padding=1)

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H/stride, W/stride) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 32.
        """
        *features, below = self.backbone(lightness)
        x: Tensor = self.deepest(below)
        for level in (2, 1, 0):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.layers[level](x + self.skips[level](features[level]))
        grey = lightness / 100
        if self.stride > 1:
            grey = F.avg_pool2d(grey, self.stride)
        out: Tensor = self.head(self.last(x + self.grey(grey.expand(-1, x.shape[1], -1, -1))))
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width, **self.backbone.config()}


NETWORK = Dahl
