"""References that teach a network to propagate color, made from still images."""

import torch
import torch.nn.functional as F
from torch import Tensor

from chromaflow.models.networks.base import Reference
from chromaflow.training.data.augment import warp

_KNOWN = 0.75
_SHIFT = 0.2  # at most, sides
_ZOOM, _SHEAR = 0.2, 0.1  # at most
_GAIN, _OFFSET, _NOISE = 0.1, 5.0, 1.5  # of lightness: at most, at most and deviation


def _uniform(like: Tensor, *shape: int) -> Tensor:
    return torch.rand(shape, device=like.device) * 2 - 1


def _shift(planes: Tensor) -> Tensor:
    """Each image moved by another amount, mirrored where nothing was."""
    batch, _, height, width = planes.shape
    most = round(min(height, width) * _SHIFT)
    places = ((_uniform(planes, 2, batch, 1) + 1) / 2 * (2 * most + 1)).long()
    rows = places[0] + torch.arange(height, device=planes.device)
    columns = places[1] + torch.arange(width, device=planes.device)
    images = torch.arange(batch, device=planes.device)
    filled = F.pad(planes, (most, most, most, most), mode="reflect").permute(0, 2, 3, 1)
    moved = filled[images[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def draw_reference(lightness: Tensor, true_ab: Tensor) -> Reference:
    """Another view of each crop in its true colors, by torch's random state.

    It is the crop itself, moved by up to a fifth of its side, zoomed by up to 1.2 either way and
    sheared by up to a tenth, in slightly other light and with some noise: what neighbouring frames
    of a video differ in. A quarter of the crops have none, so that the network also learns to
    color alone. How the broadcast framework of 2021 trains was not at hand; this is ours.

    Args:
        lightness: (B, 1, S, S), 0..100.
        true_ab: (B, 2, S, S), CIE units.
    """
    side, batch = lightness.shape[-1], len(lightness)
    zoom = (1 + _ZOOM) ** _uniform(lightness, batch)
    amounts = torch.stack([zoom, _SHEAR * _uniform(lightness, batch)], dim=1)
    moved = warp(_shift(torch.cat([lightness, true_ab], dim=1)), amounts, side)
    gain = 1 + _GAIN * _uniform(lightness, batch, 1, 1, 1)
    offset = _OFFSET * _uniform(lightness, batch, 1, 1, 1)
    light = moved[:, :1] * gain + offset + _NOISE * torch.randn_like(lightness)
    known = (torch.rand(batch, device=lightness.device) < _KNOWN).to(lightness.dtype)
    return Reference(light.clamp(0, 100), moved[:, 1:], known)
