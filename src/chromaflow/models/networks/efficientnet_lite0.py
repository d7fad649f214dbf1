"""The default network: EfficientNet-Lite0 as encoder, a light decoder, output at a quarter."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.backbones.efficientnet_lite0 import NAME
from chromaflow.models.backbones.timm import NONE, build_backbone
from chromaflow.models.networks.base import Network, check_scale, scaled
from chromaflow.models.networks.parts.blocks import separable


class EfficientNetColorizer(Network):
    """The backbone, and a decoder that goes up to a quarter of the image's size.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels of the decoder over 128.
        backbone: Any that gives features at strides 4, 8, 16 and 32.
        weights: Of the backbone, as of `build_backbone`.
        folded: As of `build_backbone`.

    Raises:
        ModelError: A width out of range, or a backbone that cannot be had.
    """

    name = "efficientnet_lite0"
    stride = 4
    multiple = 32

    def __init__(
        self,
        channels: int,
        *,
        width: float = 1.0,
        backbone: str = NAME,
        weights: str = NONE,
        folded: bool | None = None,
    ) -> None:
        super().__init__()
        check_scale(self.name, width=width)
        self.width, inner = float(width), scaled(128, width)
        self.backbone = build_backbone(backbone, weights, folded=folded)
        levels = self.backbone.channels[-4:]
        self.lateral = nn.ModuleList(nn.Conv2d(level, inner, 1) for level in levels)
        self.up = nn.ModuleList(separable(inner, inner, 5) for _ in levels)
        self.head = nn.Conv2d(inner, channels, 1)

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H/4, W/4) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 32.
        """
        features = self.backbone(lightness)[-4:]
        x: Tensor = self.up[-1](self.lateral[-1](features[-1]))
        for level in (2, 1, 0):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.up[level](x + self.lateral[level](features[level]))
        out: Tensor = self.head(x)
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width, **self.backbone.config()}


NETWORK = EfficientNetColorizer
