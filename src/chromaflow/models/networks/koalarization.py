"""Deep Koalarization: an encoder, and what a classifier takes the picture for."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.backbones.timm import NONE, build_classifier, classify
from chromaflow.models.networks.base import Network, check_scale, scaled
from chromaflow.models.networks.parts.fusion import LOW_LEVEL, Fusion, Layer, decoder, encoder


class Koalarization(Network):
    """Features of each place, fused with the logits of a classifier.

    Baldassarre, González Morín and Rodés-Guirao, "Deep Koalarization: Image Colorization using
    CNNs and Inception-ResNet-v2", 2017, Table 1. The published vector has 1001 logits, as
    TensorFlow counts the classes of ImageNet; timm has 1000, without the background. The published
    network ends in tanh and one more doubling of the size: here tanh is the codebook's, and the
    output is half the size of the picture. With a squared error both learn the same: four pixels of
    one color err as the color errs from their mean, and by what no color could correct.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels over those published, less those of the backbone.
        backbone: Any classifier of timm.
        weights: Of the backbone, as of `build_classifier`.
        folded: As of `build_classifier`.

    Raises:
        ModelError: A width out of range, or a backbone that cannot be had.
    """

    name = "koalarization"
    stride = 2
    multiple = 8
    planes = 1
    """Channels that the encoder sees."""
    normalized = False
    """Whether each non-linearity but the last has batch normalization before it."""

    def __init__(
        self,
        channels: int,
        *,
        width: float = 1.0,
        backbone: str = "inception_resnet_v2",
        weights: str = NONE,
        folded: bool | None = None,
    ) -> None:
        super().__init__()
        check_scale(self.name, width=width)
        self.width, inner = float(width), scaled(256, width)
        self.backbone = build_classifier(backbone, weights, folded=folded)
        layers = (*LOW_LEVEL, Layer(512), Layer(256))
        self.encoder = encoder(self.planes, layers, width, normalized=self.normalized)
        self.fusion = Fusion(inner, self.backbone.classes, inner)
        self.normalization = nn.BatchNorm2d(inner) if self.normalized else nn.Identity()
        self.decoder = decoder(channels, width, normalized=self.normalized)

    def fuse(self, lightness: Tensor) -> Tensor:
        """Fused features (B, inner, H/8, W/8) of lightness (B, 1, H, W), 0..100."""
        features = self.encoder(self.see(lightness))
        fused = self.fusion(features, classify(self.backbone, lightness))
        return F.relu(self.normalization(fused))

    def see(self, lightness: Tensor) -> Tensor:
        """What the encoder sees, (B, planes, H, W), within −1..1."""
        return lightness / 50 - 1

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Output (B, channels, H/2, W/2), linear, of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 8.
        """
        out: Tensor = self.decoder(self.fuse(lightness))
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width, **self.backbone.config()}


NETWORK = Koalarization
