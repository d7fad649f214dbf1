"""DAISY, a descriptor of the texture around a pixel, at every pixel."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ORIENTATIONS, POINTS, RADIUS = 8, 3, 15
SIGMA = RADIUS / 2
"""Standard deviation of the smoothing, pixels: half the distance of neighbouring histograms."""


def _offsets() -> list[tuple[int, int]]:
    """Rows and columns from a pixel to the centres of its histograms."""
    angles = [2 * math.pi * point / POINTS for point in range(POINTS)]
    ring = [(round(RADIUS * math.sin(a)), round(RADIUS * math.cos(a))) for a in angles]
    return [(0, 0), *ring]


def _mirrored(x: Tensor, margin: int, dim: int) -> Tensor:
    """A dimension of at least `margin` that goes on by so much at both ends.

    Other than in torch's own padding the pixel at the edge stands there twice, as with SciPy.
    """
    start, end = x.narrow(dim, 0, margin), x.narrow(dim, x.shape[dim] - margin, margin)
    return torch.cat([start.flip(dim), x, end.flip(dim)], dim)


class Daisy(nn.Module):
    """Smoothed histograms of the gradient's orientation at four points around each pixel.

    Tola, Lepetit and Fua, "DAISY: An Efficient Dense Descriptor Applied to Wide-Baseline Stereo",
    PAMI 2010, in the form of scikit-image: radius 15, one ring of three histograms around the one
    in the middle, eight orientations, each histogram normalized to length 1. Four places and eight
    orientations are the 32 numbers of Cheng et al. 2015. scikit-image leaves out the pixels whose
    ring does not lie in the image; here the histograms at the edge stand for those beyond it.

    Attributes:
        channels: How many numbers describe a pixel.
    """

    channels = (POINTS + 1) * ORIENTATIONS
    directions: Tensor
    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        angles = torch.arange(ORIENTATIONS) * (2 * math.pi / ORIENTATIONS) - math.pi
        directions = torch.stack([angles.cos(), angles.sin()], dim=1)[:, :, None, None]
        self.reach = int(4 * SIGMA + 0.5)
        distances = torch.arange(-self.reach, self.reach + 1)
        kernel = torch.exp(-0.5 * (distances / SIGMA) ** 2)
        kernel = (kernel / kernel.sum()).reshape(1, 1, 1, -1)
        self.register_buffer("directions", directions, persistent=False)
        self.register_buffer("kernel", kernel, persistent=False)

    def _orientation_maps(self, grey: Tensor) -> Tensor:
        """The gradient's length at each orientation, (B, 8, H, W)."""
        x = F.pad(grey.diff(dim=3), (0, 1, 0, 0))
        y = F.pad(grey.diff(dim=2), (0, 0, 0, 1))
        # Where there is no gradient at all every orientation gets the same trace.
        length = (x.square() + y.square()).clamp(min=1e-14).sqrt()
        along = F.conv2d(torch.cat([x, y], dim=1), self.directions) / length
        return torch.exp(ORIENTATIONS / math.pi * along) * length

    def _smooth(self, maps: Tensor) -> Tensor:
        batch, channels, height, width = maps.shape
        maps = maps.reshape(batch * channels, 1, height, width)
        maps = F.conv2d(_mirrored(maps, self.reach, 3), self.kernel)
        maps = F.conv2d(_mirrored(maps, self.reach, 2), self.kernel.mT)
        return maps.reshape(batch, channels, height, width)

    def forward(self, grey: Tensor) -> Tensor:
        """Descriptors of grey images.

        Args:
            grey: (B, 1, H, W), 0..1; H and W at least 30.

        Returns:
            (B, 32, H, W): four histograms, each of length 1.
        """
        height, width = grey.shape[2:]
        histograms = F.normalize(self._smooth(self._orientation_maps(grey)), dim=1)
        histograms = F.pad(histograms, (RADIUS,) * 4, mode="replicate")
        shifted = [
            histograms[:, :, RADIUS + y : RADIUS + y + height, RADIUS + x : RADIUS + x + width]
            for y, x in _offsets()
        ]
        return torch.cat(shifted, dim=1)
