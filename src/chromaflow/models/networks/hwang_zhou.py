"""Hwang and Zhou, "Image Colorization with Deep Convolutional Neural Networks", 2016."""

from typing import Any

from torch import Tensor, nn

from chromaflow.models.backbones.timm import NONE, build_backbone
from chromaflow.models.networks.base import Network, check_scale, scaled

_LEVELS = (64, 128, 256)


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _adapt(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class HwangZhou(Network):
    """A VGG16 to conv4_3 and transposed convolutions with additive skips back to full size.

    The encoder is VGG16's, 64×2, 128×2, 256×3, 512×3, which the authors start from ImageNet's
    weights; they normalize over the batch before each activation but for the last layers. timm's
    vgg16_bn is both. Each transposed convolution doubles the size and halves the channels, to which
    the encoder's map of that size is added. The kernels of these are not stated: 4×4 covers every
    pixel alike.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels of the decoder, over those published.
        backbone: Its four finest strides are the encoder, and its finest one that of the output: 1
            of VGG, 2 of most others. Where its channels are not the decoder's a 1×1 convolution,
            normalized over the batch, lies in the skip.
        weights: Of the backbone, as of `build_backbone`.
        folded: As of `build_backbone`.

    Raises:
        ModelError: A width out of range, or a backbone that cannot be had.
    """

    name = "hwang_zhou"
    multiple = 32

    def __init__(
        self,
        channels: int,
        *,
        width: float = 1.0,
        backbone: str = "vgg16_bn",
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
        self.skips = nn.ModuleList(
            nn.Identity() if given == level else _adapt(given, level)
            for given, level in zip(skipped, inner, strict=True)
        )
        self.ups = nn.ModuleList(
            _up(below, level) for below, level in zip([*inner[1:], deepest], inner, strict=True)
        )
        self.head = nn.Conv2d(inner[0], channels, 3, padding=1)

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H/stride, W/stride) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 32.
        """
        *features, x = self.backbone(lightness)
        for level in (2, 1, 0):
            x = self.ups[level](x) + self.skips[level](features[level])
        out: Tensor = self.head(x)
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width, **self.backbone.config()}


NETWORK = HwangZhou
