"""Zoom and shear of training crops, on the device: one affine sampling of a whole batch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def source_side(crop: int, zoom: float, shear: float, most: int) -> int:
    """Side of the square to cut from an image so that a zoomed and sheared crop is filled by it.

    Args:
        crop: Side of the crop, pixels.
        zoom: `training.zoom`; at most, the crop shows 1 + zoom times its side.
        shear: `training.shear`; its rows are moved against each other by up to as many sides.
        most: Shorter side of the images; where it is too small, what is missing is mirrored.
    """
    return min(most, math.ceil(crop * (1 + zoom) * (1 + shear)))


def warp(planes: Tensor, amounts: Tensor, side: int) -> Tensor:
    """Cut the middle of images, zoomed and sheared about it; bilinear, mirrored beyond the edges.

    The pixel at (x, y) from the middle of the result is the one at ((x + s·y) / z, y / z) from the
    middle of the image.

    Args:
        planes: float (B, C, H, W); gradients flow back to it.
        amounts: float (B, 2): z above 0, above 1 enlarges; and s.
        side: Of the result, pixels.

    Returns:
        float (B, C, side, side), within the range of the planes.
    """
    zoom, shear = amounts.to(planes.dtype).unbind(1)
    zero = torch.zeros_like(zoom)
    across = torch.stack([torch.ones_like(zoom), shear, zero], 1)
    down = torch.stack([zero, torch.ones_like(zoom), zero], 1)
    height, width = planes.shape[-2:]
    scale = side / torch.tensor([[width], [height]], dtype=planes.dtype, device=planes.device)
    matrices = torch.stack([across, down], 1) / zoom[:, None, None] * scale
    grid = F.affine_grid(matrices, [len(planes), 1, side, side], align_corners=False)
    return F.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)


def warp_stored(pixels: Tensor, amounts: Tensor, side: int) -> Tensor:
    """The same for stored Lab, L, a and b in one sampling, rounded as they are stored.

    Args:
        pixels: uint8 (B, H, W, 3).
        amounts: As of `warp`.
        side: Of the result, pixels.

    Returns:
        uint8 (B, side, side, 3).
    """
    planes = pixels.permute(0, 3, 1, 2).float()
    return warp(planes, amounts, side).round_().to(torch.uint8).permute(0, 2, 3, 1)
