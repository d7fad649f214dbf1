"""How much the color of a place changes while it moves.

Lai et al. 2018, "Learning Blind Video Temporal Consistency", equation 9; the flow is given.
People hardly agree with it, and much more with `chromaflow.metrics.cdc`: it comes second.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from chromaflow.metrics.base import checked


def warped(image: Tensor, flow: Tensor) -> Tensor:
    """What an image shows where a flow leads, bilinearly; beyond the edge, what is at the edge.

    Args:
        image: (B, C, H, W).
        flow: Displacement across and down, pixels, (B, 2, H, W).

    Example:
        >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> warped(image, torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4))
        tensor([[[[1., 2., 3., 3.]]]])
    """
    height, width = image.shape[2:]
    down, across = torch.meshgrid(
        torch.arange(height, device=flow.device),
        torch.arange(width, device=flow.device),
        indexing="ij",
    )
    size = torch.tensor([width, height], device=flow.device)[:, None, None]
    places = (torch.stack((across, down)) + flow + 0.5) * 2 / size - 1
    grid = places.permute(0, 2, 3, 1).to(image.dtype)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def warp_error(frame: Tensor, other: Tensor, flow: Tensor, visible: Tensor) -> Tensor:
    """Mean squared difference of frames to other ones of their video, where motion is followed.

    Args:
        frame: sRGB, (B, 3, H, W), 0..1.
        other: Of the same shape, such as the frames before.
        flow: From each pixel of the frame to its place in the other, pixels, (B, 2, H, W).
        visible: (B, 1, H, W): 1 where that place shows the same thing, 0 where it is hidden.

    Returns:
        (B,), summed over channels, 0..3; 0 where nothing is visible.

    Raises:
        ValueError: Frames of another shape or type.

    Example:
        >>> frame, still, seen = torch.rand(1, 3, 8, 8), torch.zeros(1, 2, 8, 8), torch.ones(1)
        >>> warp_error(frame, frame, still, seen.expand(1, 1, 8, 8)) < 1e-9
        tensor([True])
    """
    frame, other = checked(3, frame, other)
    squares = (frame - warped(other, flow)).square().sum(dim=1, keepdim=True) * visible
    return squares.flatten(1).sum(dim=1) / visible.flatten(1).sum(dim=1).clamp(min=1)
