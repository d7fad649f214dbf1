"""Color from a key frame, found by correspondence, for the frames of its shot.

The second of the two networks of "A Practical Monochrome Video Colorization Framework for Broadcast
Program Production", IEEE Transactions on Broadcasting, 2021.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.backbones.efficientnet_lite0 import NAME
from chromaflow.models.backbones.timm import NONE, build_backbone
from chromaflow.models.networks.base import Network, Reference, check_scale, repeated, scaled
from chromaflow.models.networks.parts.blocks import Convolution

_CELL = 8  # side of what is matched, pixels
_PART = 4  # side of what a match brings the color of, pixels
_DESCRIPTOR = 64
_SHARPNESS = 20.0  # at first; what similarities in −1..1 are multiplied with
_AB_SCALE = 20.0  # about the deviation of ab in photographs


class Correspondence(nn.Module):
    """Color of a reference at the places of a frame, by attention between their descriptors.

    As in Zhang et al., "Deep Exemplar-based Video Colorization", CVPR 2019, a softmax over all
    cells of the reference, of cosine similarity; its sharpness is learned here. The attention is
    never written out, so memory grows with the picture, not with its square.

    Args:
        channels: Of the features, one pixel a cell.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.describe = nn.Conv2d(channels, _DESCRIPTOR, 1)
        self.sharpness = nn.Parameter(torch.tensor(math.log(_SHARPNESS)))

    def _descriptors(self, features: Tensor) -> Tensor:
        return F.normalize(self.describe(features), dim=1).flatten(2).transpose(1, 2)

    def forward(self, frame: Tensor, reference: Tensor, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Look the color up.

        Args:
            frame: Features (B, channels, h, w) of the frame.
            reference: Those of the reference, (B, channels, m, n), or of one for all frames.
            ab: Color of the reference, (B, C, m, n), or of one.

        Returns:
            Color (B, C, h, w), and how alike the places are that it comes from, (B, 1, h, w):
            the expected cosine similarity, at most 1.
        """
        batch, _, height, width = frame.shape
        asked, keys = self._descriptors(frame), self._descriptors(reference)
        values = torch.cat([keys, ab.flatten(2).transpose(1, 2)], dim=2)
        # Attention that is not written out wants heads, and descriptors and values of one length.
        missing, seen = (0, ab.shape[1]), (batch, 1, -1, -1)
        found = F.scaled_dot_product_attention(
            F.pad(asked * self.sharpness.exp(), missing)[:, None],
            F.pad(keys, missing)[:, None].expand(seen),
            values[:, None].expand(seen),
            scale=1.0,
        )[:, 0]
        alike = (asked * found[..., :_DESCRIPTOR]).sum(dim=2, keepdim=True)
        planes = torch.cat([found[..., _DESCRIPTOR:], alike], dim=2).transpose(1, 2)
        planes = planes.reshape(batch, -1, height, width)
        return planes[:, :-1], planes[:, -1:]


class Propagation(Network):
    """Lightness and the color found in a reference, joined by a U-Net; colors without one as well.

    The paper's summary states the task: color a video from its key frames, and keep color from
    jumping between frames. Layers, losses and training were not at hand, so all that follows is
    ours. Features of both lightnesses from one backbone, summed over strides 8, 16 and 32, are
    matched. The reference's color, in parts of 4×4 pixels, goes where it matches, and enters with
    the lightness and a confidence, as a hint and its mask enter the user-guided network of the same
    framework; the last layer sees both once more. Skips add up, as there. The features
    of the frame itself join at the lowest level, so that what no reference shows has a color, too.
    All frames of a shot look at the same reference, which keeps their color steady; nothing passes
    from frame to frame, so no mistake adds up.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels over 64, 128 and 256 at a half, a quarter and an eighth of the size.
        depth: Convolutions at an eighth of the size over 3.
        backbone: Any that gives features at strides 8, 16 and 32.
        weights: Of the backbone, as of `build_backbone`.
        folded: As of `build_backbone`.

    Raises:
        ModelError: A width or depth out of range, or a backbone that cannot be had.
    """

    name = "propagation"
    stride = 2
    multiple = 32
    guide = Reference

    def __init__(
        self,
        channels: int,
        *,
        width: float = 1.0,
        depth: float = 1.0,
        backbone: str = NAME,
        weights: str = NONE,
        folded: bool | None = None,
    ) -> None:
        super().__init__()
        check_scale(self.name, width=width, depth=depth)
        self.width, self.depth = float(width), float(depth)
        self.backbone = build_backbone(backbone, weights, folded=folded)
        fine, middle, coarse = (scaled(number, width) for number in (64, 128, 256))
        self.lateral = nn.ModuleList(
            nn.Conv2d(level, coarse, 1) for level in self.backbone.channels[-3:]
        )
        self.correspondence = Correspondence(coarse)
        self.down = nn.ModuleList(
            nn.Sequential(Convolution(before, after, 3, stride=2), Convolution(after, after, 3))
            for before, after in ((4, fine), (fine, middle), (middle, coarse))
        )
        self.deep = nn.Sequential(
            *(Convolution(coarse, coarse, 3) for _ in range(repeated(3, depth)))
        )
        self.narrow = nn.ModuleList((Convolution(coarse, middle, 3), Convolution(middle, fine, 3)))
        self.join = nn.ModuleList((Convolution(middle, middle, 3), Convolution(fine, fine, 3)))
        self.head = nn.Conv2d(fine + 3, channels, 1)
        nn.init.normal_(self.head.weight, std=0.01)

    def _features(self, lightness: Tensor) -> Tensor:
        """(B, coarse, H/8, W/8), summed over the backbone's strides."""
        levels = self.backbone(lightness)[-3:]
        x: Tensor = self.lateral[-1](levels[-1])
        for lateral, level in zip(self.lateral[-2::-1], levels[-2::-1], strict=True):
            x = lateral(level) + F.interpolate(x, level.shape[2:], mode="bilinear")
        return x

    def _hints(self, lightness: Tensor, features: Tensor, reference: Reference | None) -> Tensor:
        """Scaled color found in the reference, and how sure it is, (B, 3, H, W); else zeros."""
        if reference is None:
            return torch.zeros_like(lightness).expand(-1, 3, -1, -1)
        parts = F.pixel_unshuffle(F.avg_pool2d(reference.ab, _PART) / _AB_SCALE, _CELL // _PART)
        seen = self._features(reference.lightness)
        ab, alike = self.correspondence(features, seen, parts)
        hints = torch.cat(
            [
                F.interpolate(
                    F.pixel_shuffle(ab, _CELL // _PART), scale_factor=_PART, mode="bilinear"
                ),
                F.interpolate(alike, scale_factor=_CELL, mode="bilinear"),
            ],
            dim=1,
        )
        return hints * reference.known[:, None, None, None]

    def forward(self, lightness: Tensor, guide: Reference | None = None) -> Tensor:
        """Logits (B, channels, H/2, W/2) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 32. A reference may have another size of such sides, and one
        reference, of batch 1, may serve all frames.
        """
        features = self._features(lightness)
        hints = self._hints(lightness, features, guide)
        x = torch.cat([lightness / 50 - 1, hints], dim=1)
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.deep(x + features)
        for narrow, join, skip in zip(self.narrow, self.join, skips[1::-1], strict=True):
            x = join(F.interpolate(narrow(x), scale_factor=2, mode="bilinear") + skip)
        out: Tensor = self.head(torch.cat([x, F.avg_pool2d(hints, self.stride)], dim=1))
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {
            "name": self.name,
            "width": self.width,
            "depth": self.depth,
            **self.backbone.config(),
        }


NETWORK = Propagation
