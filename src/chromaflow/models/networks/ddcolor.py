"""Color queries: one decoder restores detail, the other learns colors from what it sees on the way.

Kang et al., "DDColor: Towards Photo-Realistic Image Colorization via Dual Decoders", ICCV 2023.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.backbones.timm import NONE, build_backbone
from chromaflow.models.networks.base import Network, check_scale, repeated, scaled

_QUERIES, _LAYERS, _HEADS = 100, 9, 8
_LAST = 4  # what the last upsampling enlarges by


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of each pixel of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Blur(nn.Sequential):
    """Mean of each pixel and its left, upper and upper left neighbours.

    Takes the checkerboard from what a pixel shuffle made (Sugawara et al. 2018).
    """

    def __init__(self) -> None:
        super().__init__(nn.ReplicationPad2d((1, 0, 1, 0)), nn.AvgPool2d(2, stride=1))


def _subpixel_convolution(inputs: int, outputs: int, scale: int, *, bias: bool) -> nn.Conv2d:
    """A 1×1 convolution before a pixel shuffle; at first all pixels of a block are alike.

    Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017.
    """
    area = scale**2
    convolution = nn.Conv2d(inputs, outputs * area, 1, bias=bias)
    nn.init.kaiming_normal_(convolution.weight)
    with torch.no_grad():
        convolution.weight.copy_(convolution.weight[::area].repeat_interleave(area, dim=0))
    return convolution


class PixelBlock(nn.Module):
    """Twice the size by pixel shuffle, joined with the encoder's features of that size.

    Args:
        inputs: Channels in.
        skip: Channels of the encoder's features.
        outputs: Channels out.
    """

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.Sequential(
            _subpixel_convolution(inputs, outputs, 2, bias=False),
            nn.BatchNorm2d(outputs * 4),
            nn.ReLU(inplace=True),
            nn.PixelShuffle(2),
            Blur(),
        )
        self.skip = nn.BatchNorm2d(skip)
        self.join = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs + skip, outputs, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, outputs, 2h, 2w) of (B, inputs, h, w) and (B, skip, 2h, 2w)."""
        out: Tensor = self.join(torch.cat([self.up(x), self.skip(skip)], dim=1))
        return out


class ColorLayer(nn.Module):
    """The queries look at features, then at each other, and each is transformed by itself.

    Args:
        channels: Of queries and features.
        inner: Of the feed-forward network.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.cross = nn.MultiheadAttention(channels, _HEADS, batch_first=True)
        self.mutual = nn.MultiheadAttention(channels, _HEADS, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, inner), nn.ReLU(inplace=True), nn.Linear(inner, channels)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, colors: Tensor, places: Tensor, features: Tensor, positions: Tensor
    ) -> Tensor:
        """Refine the queries.

        Args:
            colors: The queries, (B, queries, channels).
            places: Their positional encoding, of the same shape.
            features: (B, N, channels).
            positions: Of the features, (N, channels).
        """
        keys = features + positions
        seen, _ = self.cross(colors + places, keys, features, need_weights=False)
        colors = self.norms[0](colors + seen)
        own = colors + places
        seen, _ = self.mutual(own, own, colors, need_weights=False)
        colors = self.norms[1](colors + seen)
        out: Tensor = self.norms[2](colors + self.feed_forward(colors))
        return out


def sine_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Sines and cosines of row and column, each a share of the picture's side.

    Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020.

    Args:
        height: Rows.
        width: Columns.
        channels: A multiple of 4; the first half encodes the row, the second the column.
        device: Of the result.

    Returns:
        float32 (height · width, channels).
    """
    count = channels // 4
    frequencies = 10_000 ** (-torch.arange(count, device=device) / count)
    codes = []
    for size in (height, width):
        share = torch.arange(1, size + 1, device=device) / size
        angles = 2 * math.pi * share[:, None] * frequencies
        codes.append(torch.cat([angles.sin(), angles.cos()], dim=1))
    rows = codes[0][:, None].expand(-1, width, -1)
    columns = codes[1][None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


class ColorDecoder(nn.Module):
    """Queries that become colors by looking at features of several scales in turn.

    Args:
        levels: Channels of the features of each scale, the coarsest first.
        channels: Of the queries.
        inner: Of the feed-forward networks.
        layers: Each looks at the scale after that of the layer before.
    """

    def __init__(self, levels: tuple[int, ...], channels: int, inner: int, layers: int) -> None:
        super().__init__()
        self.channels = channels
        self.queries = nn.Parameter(torch.randn(_QUERIES, channels))
        self.places = nn.Parameter(torch.randn(_QUERIES, channels))
        self.scales = nn.Parameter(torch.randn(len(levels), channels))
        self.project = nn.ModuleList(nn.Conv2d(level, channels, 1) for level in levels)
        self.layers = nn.ModuleList(ColorLayer(channels, inner) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        self.embed = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Color embeddings (B, queries, channels) of features (B, C, h, w) of each scale."""
        seen = []
        for features, project, scale in zip(levels, self.project, self.scales, strict=True):
            height, width = features.shape[2:]
            positions = sine_positions(height, width, self.channels, features.device)
            seen.append((project(features).flatten(2).transpose(1, 2) + scale, positions))
        batch = len(levels[0])
        colors = self.queries.expand(batch, -1, -1)
        for number, layer in enumerate(self.layers):
            colors = layer(colors, self.places, *seen[number % len(seen)])
        out: Tensor = self.embed(self.norm(colors))
        return out


class DDColor(Network):
    """An encoder, a pixel decoder with skips up to full size, and a decoder of 100 color queries.

    As published: with convnext_tiny 55 M parameters, with convnext_large 228 M; pixel decoder of
    512, 512, 256 and 256 channels; nine layers of eight heads, 256 channels and 2048 within, over
    the pixel decoder's features at 1/16, 1/8 and 1/4; each pixel's feature times each query's
    color, joined with the picture, through a 1×1 convolution.

    Normalization, activations, blur and the place of each follow the authors' code, and so does
    the encoder's layer normalization. Three things differ from it. It also normalizes the spectrum
    of each convolution, which is left out here: batch normalization undoes it in all but the last
    two. It gives the encoder and the last convolution grey as three equal channels of sRGB, where
    here the encoder gets grey of L, and the last convolution L itself. And the weights of the
    queries start smaller, so that a codebook with a bound starts far from it.

    All that follows the pixel decoder's last ReLU is linear. So the queries are multiplied with the
    last convolution's weights first, and their hundred maps at full size are never made.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Of both decoders, relative to what was published.
        depth: Layers of the color decoder over 9.
        backbone: Any that gives features at strides 4, 8, 16 and 32.
        weights: Of the backbone, as of `build_backbone`.
        folded: As of `build_backbone`.

    Raises:
        ModelError: A width or depth out of range, or a backbone that cannot be had.
    """

    name = "ddcolor"
    stride = 1
    multiple = 32

    def __init__(
        self,
        channels: int,
        *,
        width: float = 1.0,
        depth: float = 1.0,
        backbone: str = "convnext_tiny",
        weights: str = NONE,
        folded: bool | None = None,
    ) -> None:
        super().__init__()
        check_scale(self.name, width=width, depth=depth)
        self.width, self.depth = float(width), float(depth)
        self.backbone = build_backbone(backbone, weights, folded=folded)
        levels = self.backbone.channels[-4:]
        self.norms = nn.ModuleList(ChannelNorm(level, eps=1e-6) for level in levels)
        wide, inner = scaled(512, width), scaled(256, width)
        outputs = (wide, wide, inner)
        inputs = (levels[-1], wide, wide)
        skips = levels[-2::-1]
        self.pixel_decoder = nn.ModuleList(map(PixelBlock, inputs, skips, outputs))
        self.last = _subpixel_convolution(inner, inner, _LAST, bias=True)
        self.color_decoder = ColorDecoder(
            outputs, inner, scaled(2048, width), repeated(_LAYERS, depth)
        )
        self.mix = nn.Linear(_QUERIES, channels, bias=False)
        self.direct = nn.Conv2d(1, channels, 1)
        self.blur = Blur()
        nn.init.normal_(self.mix.weight, std=1e-3)
        nn.init.zeros_(self.direct.weight)
        nn.init.zeros_(self.direct.bias)  # type: ignore[arg-type]

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H, W) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 32.
        """
        features = self.backbone(lightness)[-4:]
        x, *skips = [norm(f) for norm, f in zip(self.norms, features, strict=True)][::-1]
        levels = []
        for block, skip in zip(self.pixel_decoder, skips, strict=True):
            x = block(x, skip)
            levels.append(x)
        colors = self.mix(self.color_decoder(levels).transpose(1, 2)).transpose(1, 2)
        pixels = F.relu(self.last(x))
        batch, _, height, width = pixels.shape
        # The pixels of a block lie beside each other in the channels, as a pixel shuffle has them.
        mixed = colors @ pixels.reshape(batch, x.shape[1], _LAST**2 * height * width)
        mixed = mixed.reshape(batch, colors.shape[1] * _LAST**2, height, width)
        out: Tensor = self.blur(F.pixel_shuffle(mixed, _LAST)) + self.direct(lightness / 50 - 1)
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {
            "name": self.name,
            "width": self.width,
            "depth": self.depth,
            **self.backbone.config(),
        }


NETWORK = DDColor
