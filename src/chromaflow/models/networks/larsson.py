"""Larsson, Maire, Shakhnarovich, "Learning Representations for Automatic Colorization", 2016."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.backbones.timm import NONE, build_backbone
from chromaflow.models.networks.base import Network, Outputs, check_scale, scaled

PLACES = 128
"""Pixels of an image that a training step learns from."""


class Larsson(Network):
    """Hypercolumns over every map of VGG16, and two fully connected layers on each.

    A hypercolumn is what the grey picture and the maps say at one place: 12,417 numbers from the
    picture, the thirteen convolutions and fc6 and fc7, which are convolutions here. The layers on
    it have 1024 units and the channels of the output. Output at a quarter of the size, at which the
    authors' own program colors, too. ECCV 2016, section 3.

    The authors' training network normalizes each map over the batch, without learned scale or
    shift. Here what the layers see of it is normalized so, and the maps stay as published. The
    dropout of that network is left out.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Units of the hidden layer, over 1024.
        backbone: Of a VGG network every map is taken, of others the features at each stride.
        weights: Of the backbone, as of `build_backbone`.
        folded: As of `build_backbone`.

    Raises:
        ModelError: A width out of range, or a backbone that cannot be had.
    """

    name = "larsson"
    stride = 4
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
        self.backbone = build_backbone(backbone, weights, folded=folded, every_map=True)
        self.sizes = [1, *self.backbone.channels]
        self.norms = nn.ModuleList(nn.BatchNorm2d(size, affine=False) for size in self.sizes)
        self.hidden = nn.Conv2d(sum(self.sizes), scaled(1024, width), 1)
        self.head = nn.Conv2d(self.hidden.out_channels, channels, 1)

    def _maps(self, lightness: Tensor) -> list[Tensor]:
        return [lightness, *self.backbone(lightness)]

    def _parts(self) -> list[Tensor]:
        """The hidden layer's weights, map by map."""
        return list(self.hidden.weight.split(self.sizes, dim=1))  # type: ignore[no-untyped-call]

    def _finish(self, hidden: Tensor) -> Tensor:
        assert self.hidden.bias is not None  # noqa: S101 (a convolution has one by default)
        out: Tensor = self.head(F.relu(hidden + self.hidden.bias[:, None, None]))
        return out

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H/4, W/4) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 32. The hidden layer is linear in the maps, so that each is weighed
        at its own size before it is enlarged: hypercolumns of all pixels are never written out, and
        the memory is that of a few times 1024 channels at a quarter of the size.
        """
        size = (lightness.shape[2] // self.stride, lightness.shape[3] // self.stride)
        strides = (1, *self.backbone.strides)
        hidden: Tensor | None = None
        for x, part, norm, stride in zip(
            self._maps(lightness), self._parts(), self.norms, strides, strict=True
        ):
            fine = _resize(x, size) if stride < self.stride else x
            weighed = F.conv2d(norm(fine), part)
            if stride > self.stride:
                weighed = _resize(weighed, size)
            hidden = weighed if hidden is None else hidden + weighed
        assert hidden is not None  # noqa: S101 (there is one map at least)
        return self._finish(hidden)

    def outputs(self, lightness: Tensor, guide: Any = None) -> Outputs:
        """In training the logits (B, channels, 1, 128) at places drawn at random; else all.

        The places come from torch's global generator, and may come twice.
        """
        if not self.training:
            return super().outputs(lightness, guide)
        height, width = lightness.shape[2] // self.stride, lightness.shape[3] // self.stride
        batch, device = len(lightness), lightness.device
        places = torch.randint(height * width, (batch, PLACES), device=device)
        return Outputs(self.at(lightness, places), places, {})

    def at(self, lightness: Tensor, places: Tensor) -> Tensor:
        """Logits at some places, whose hypercolumns alone are made.

        Args:
            lightness: (B, 1, H, W), 0..100; H and W multiples of 32.
            places: int64 (B, N), each row · (W/4) + column of the output of `forward`.

        Returns:
            (B, channels, 1, N).
        """
        height, width = lightness.shape[2] // self.stride, lightness.shape[3] // self.stride
        row = (places // width + 0.5) / height
        column = (places % width + 0.5) / width
        grid = (torch.stack([column, row], dim=-1)[:, None] * 2 - 1).to(lightness.dtype)
        # In half precision the places themselves would be too coarse.
        sampled = [
            F.grid_sample(x.to(grid.dtype), grid, padding_mode="border", align_corners=False)
            for x in self._maps(lightness)
        ]
        columns = [norm(x) for x, norm in zip(sampled, self.norms, strict=True)]
        return self._finish(F.conv2d(torch.cat(columns, dim=1), self.hidden.weight))

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width, **self.backbone.config()}


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


NETWORK = Larsson
