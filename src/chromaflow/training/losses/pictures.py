"""Losses on whole pictures, in red, green and blue."""

import torch
from torch import Tensor

from chromaflow.errors import ModelError
from chromaflow.models.backbones import efficientnet_lite0 as lite
from chromaflow.models.backbones.timm import build_color_backbone
from chromaflow.training.losses.context import Step

_LEVELS = 5
_LEAST_VARIANCE = 1e-12


def _variance_and_square(difference: Tensor) -> tuple[Tensor, Tensor]:
    """Of each image's absolute differences (B, H, W), on the scale of 8-bit values: two (B,)."""
    values = 255 * difference.abs().flatten(1)
    return values.var(dim=1, correction=0), values.mean(dim=1) ** 2


def colorfulness(step: Step) -> Tensor:
    """1 − colorfulness / 100 of the predicted pictures, their mean.

    Kang et al., "DDColor", ICCV 2023, with the colorfulness of
    `chromaflow.metrics.colorfulness`; its gradient is finite for grey pictures, too.

    Raises:
        SettingsError: The network trains on some pixels, not on pictures.
    """
    red, green, blue = step.rgb.unbind(1)
    pairs = zip(
        _variance_and_square(red - green),
        _variance_and_square(0.5 * (red + green) - blue),
        strict=True,
    )
    # The slope of a root at 0 is infinite.
    spread, mean = ((one + other).clamp(min=_LEAST_VARIANCE).sqrt() for one, other in pairs)
    return 1 - (spread + 0.3 * mean).mean() / 100


class Perceptual:
    """How far the predicted pictures are from the true ones, in the features of a backbone.

    Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and
    Super-Resolution", ECCV 2016. The distance is that of DDColor's published settings: the mean
    absolute difference at each of five levels, each weighted with twice the one before, the last
    with 1. They take VGG16 before its activations; timm gives vgg16 and vgg16_bn after them.

    The backbone is frozen. It is not part of the training's state, since its weights are published:
    this is not a module, so neither optimizer nor checkpoint know of it.

    Args:
        backbone: Of timm by name; empty: tf_efficientnet_lite0, whose weights are installed.
        weights: "published", or a safetensors file in timm's terms.

    Raises:
        ModelError: A backbone or weights that cannot be had, with the ways out.
    """

    def __init__(self, backbone: str, weights: str) -> None:
        try:
            self.backbone = build_color_backbone(backbone or lite.NAME, weights).eval()
        except ModelError as error:
            raise ModelError(
                f"the loss perceptual: {error.problem}",
                "set training.losses.perceptual.backbone_weights to a safetensors file of this "
                f"backbone, or training.losses.perceptual.backbone={lite.NAME}, whose weights are "
                "installed",
            ) from None
        self.backbone.requires_grad_(requires_grad=False)

    def __call__(self, step: Step) -> Tensor:
        """The distance, a scalar.

        Raises:
            SettingsError: The network trains on some pixels, not on pictures.
        """
        backbone = self.backbone.to(step.lightness.device)
        with torch.no_grad():
            true = backbone(100 * step.true_rgb)[:_LEVELS]
        predicted = backbone(100 * step.rgb)[:_LEVELS]
        distances = [
            (one.float() - other.float()).abs().mean()
            for one, other in zip(predicted, true, strict=True)
        ]
        return torch.stack([d / 2**k for k, d in enumerate(reversed(distances))]).sum()
