"""Cheng, Yang and Sheng 2015, Deep Colorization: a small MLP on what describes a pixel."""

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.backbones.timm import NONE, build_backbone
from chromaflow.models.networks.base import Network, check_scale, repeated, scaled
from chromaflow.models.networks.parts.daisy import Daisy

PATCH, CATEGORIES, HIDDEN = 7, 47, 3


class DeepColorization(Network):
    """A perceptron on grey patch, texture and category of each pixel.

    Cheng, Yang and Sheng, "Deep Colorization", ICCV 2015: the descriptor of a pixel is its grey
    patch of 7×7, 32 numbers of DAISY, and the probabilities of 47 categories that a fully
    convolutional network tells, 128 numbers in all; three hidden layers of half as many rectified
    units give its color. Here it does so at every pixel. The first layer is written as the sum of
    what it makes of each part, and the 7×7 convolution is what it makes of the patch.

    Different from the paper: the categories have no names, as no labels of pixels are at hand; 1×1
    convolutions on the backbone's features at strides 8, 16 and 32, added as FCN-8s (Long et al.
    2015) adds them, learn with the colors which 47 kinds are worth telling apart, and are enlarged
    bilinearly instead of by an edge-preserving filter. One network learns all images, rather than
    one for each cluster of them.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Hidden units over 64.
        depth: Hidden layers over 3.
        backbone: Any that gives features at strides 8, 16 and 32; that of FCN-8s is vgg16.
        weights: Of the backbone, as of `build_backbone`.
        folded: As of `build_backbone`.

    Raises:
        ModelError: A size out of range, or a backbone that cannot be had.
    """

    name = "cheng"
    stride = 1
    multiple = 32

    def __init__(
        self,
        channels: int,
        *,
        width: float = 1.0,
        depth: float = 1.0,
        backbone: str = "vgg16",
        weights: str = NONE,
        folded: bool | None = None,
    ) -> None:
        super().__init__()
        check_scale(self.name, width=width, depth=depth)
        self.width, self.depth = float(width), float(depth)
        self.backbone = build_backbone(backbone, weights, folded=folded)
        self.daisy = Daisy()
        self.scores = nn.ModuleList(
            nn.Conv2d(level, CATEGORIES, 1) for level in self.backbone.channels[-3:]
        )
        hidden = scaled((PATCH**2 + Daisy.channels + CATEGORIES) // 2, width)
        self.patch = nn.Conv2d(1, hidden, PATCH, padding=PATCH // 2, padding_mode="replicate")
        self.texture = nn.Conv2d(Daisy.channels, hidden, 1, bias=False)
        self.category = nn.Conv2d(CATEGORIES, hidden, 1, bias=False)
        layers: list[nn.Module] = [nn.ReLU(inplace=True)]
        for _ in range(repeated(HIDDEN, depth) - 1):
            layers += [nn.Conv2d(hidden, hidden, 1), nn.ReLU(inplace=True)]
        self.rest = nn.Sequential(*layers, nn.Conv2d(hidden, channels, 1))

    def categories(self, lightness: Tensor) -> Tensor:
        """Shares (B, 47, H/8, W/8) of the learned categories, which sum to 1."""
        features = self.backbone(lightness)[-3:]
        total: Tensor = self.scores[-1](features[-1])
        for level in (1, 0):
            total = F.interpolate(total, scale_factor=2, mode="bilinear", align_corners=False)
            total = total + self.scores[level](features[level])
        return total.softmax(dim=1)

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H, W) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 32.
        """
        # Each part with a mean square of about 1; of the categories where one of them is sure.
        category = self.category(self.categories(lightness) * math.sqrt(CATEGORIES))
        category = F.interpolate(category, scale_factor=8, mode="bilinear", align_corners=False)
        texture = self.texture(self.daisy(lightness / 100) * math.sqrt(8))
        out: Tensor = self.rest(self.patch(lightness / 25 - 2) + texture + category)
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {
            "name": self.name,
            "width": self.width,
            "depth": self.depth,
            **self.backbone.config(),
        }


NETWORK = DeepColorization
