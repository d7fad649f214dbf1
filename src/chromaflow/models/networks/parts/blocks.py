"""Layers that networks share."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn


class Convolution(nn.Sequential):
    """Convolution, then batch normalization or a bias, then, unless `linear`, ReLU6.

    The input is padded as TensorFlow's "same" pads it, where the encoder's published weights come
    from: at stride 2 and an even size, one pixel less on the left and on the top.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the kernel.
        stride: 1 or 2.
        groups: Of the convolution; as many as `inputs` makes it depthwise.
        linear: Leave the activation out.
        normalized: Normalize over the batch; otherwise the convolution has a bias.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
        normalized: bool = True,
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=not normalized)
        ]
        if normalized:
            layers.append(nn.BatchNorm2d(outputs))
        if not linear:
            layers.append(nn.ReLU6(inplace=True))
        super().__init__(*layers)
        self.extra = kernel - 2 if stride == 2 else 0

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers to (B, inputs, H, W)."""
        if self.extra:
            before = self.extra // 2
            after = self.extra - before
            x = F.pad(x, (before, after, before, after))
        out: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return out


class InvertedResidual(nn.Module):
    """Expand, convolve each channel by itself, project; add the input where the shape allows.

    Sandler et al., "MobileNetV2", CVPR 2018, without squeeze and excitation.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the depthwise kernel.
        stride: 1 or 2.
        expand: Channels inside over channels in; 1 leaves the expansion out.
        normalized: Normalize over the batch.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int,
        expand: int,
        normalized: bool,
    ) -> None:
        super().__init__()
        inner = inputs * expand
        convolution = partial(Convolution, normalized=normalized)
        layers: list[nn.Module] = [convolution(inputs, inner)] if expand > 1 else []
        self.layers = nn.Sequential(
            *layers,
            convolution(inner, inner, kernel, stride=stride, groups=inner),
            convolution(inner, outputs, linear=True),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (B, inputs, H, W), even H and W where the stride is 2."""
        out: Tensor = self.layers(x)
        return out + x if self.residual else out


def separable(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Depthwise separable convolution, normalized over the batch, with ReLU6 at its end.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the depthwise kernel.
    """
    return nn.Sequential(
        Convolution(inputs, inputs, kernel, groups=inputs, linear=True),
        Convolution(inputs, outputs),
    )
