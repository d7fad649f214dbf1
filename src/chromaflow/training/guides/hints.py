"""The simulated user of Zhang et al. 2017: which hints are drawn from the true colors."""

import functools

import torch
from torch import Tensor

from chromaflow.color.codebooks.grid import BINS
from chromaflow.models.global_hints import global_hints
from chromaflow.models.networks.base import Hints

POINTS = 1 / 8
"""Parameter of the geometric distribution of the number of points."""
LARGEST_PATCH = 9
WHOLE = 0.01
"""Share of the images that are revealed whole."""
GLOBAL_HINT_PROBABILITY = 0.5
"""Probability with which each global hint is given."""


def _local_hints(ab: Tensor) -> Tensor:
    """Patches of mean color at random places, later ones over earlier ones; (B, 3, H, W)."""
    batch, _, height, width = ab.shape
    numbers = functools.partial(torch.empty, device=ab.device)
    # The authors count the failures before the first success: 0, 1, 2 …, 7 on average.
    counts = numbers(batch, 1).geometric_(POINTS) - 1
    most = int(counts.max())
    sides = torch.randint(1, LARGEST_PATCH + 1, (batch, most), device=ab.device)
    corners = []
    for size in (height, width):
        middle = numbers(batch, most).normal_(size / 2, size / 4)
        corner = (middle - sides / 2).round().long()
        corners.append(torch.minimum(corner.clamp(min=0), size - sides))
    rows = torch.arange(height, device=ab.device)[:, None]
    columns = torch.arange(width, device=ab.device)
    local = torch.zeros(batch, 3, height, width, device=ab.device)
    for point in range(most):
        top, left, side = (value[:, point, None, None] for value in (corners[0], corners[1], sides))
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        inside = (inside & (counts[:, :, None] > point))[:, None]
        mean = (ab * inside).sum(dim=(2, 3), keepdim=True) / (side * side)[:, None]
        hint = torch.cat((mean, torch.ones_like(mean[:, :1])), dim=1)
        local = torch.where(inside, hint, local)
    return local


def draw_hints(lightness: Tensor, true_ab: Tensor) -> Hints:
    """The hints of a simulated user for each image of a batch, from torch's random state.

    Zhang et al. 2017, Section 3.2: the number of points is geometric with p = 1/8; a patch has a
    side of 1 to 9 pixels, uniformly, and its place is normal about the middle with a quarter of the
    size as σ, moved inside the image; its mean ab is revealed. One image in a hundred is revealed
    whole, so that the network learns to keep the colors that it is given. Of the global hints
    (Section 3.3) either, both or none are given; the paper gives no probabilities, and a half for
    each makes the four cases alike.

    Args:
        lightness: (B, 1, H, W), 0..100; H and W at least 9.
        true_ab: (B, 2, H, W), CIE units.

    Returns:
        Hints on the device of the images.
    """
    batch, device = len(true_ab), true_ab.device
    local = _local_hints(true_ab)
    whole = torch.rand(batch, 1, 1, 1, device=device) < WHOLE
    everything = torch.cat((true_ab, torch.ones_like(lightness)), dim=1)
    given = torch.rand(2, batch, 1, device=device) < GLOBAL_HINT_PROBABILITY
    mask = torch.cat([given[0].expand(-1, len(BINS) + 1), given[1].expand(-1, 2)], dim=1)
    return Hints(torch.where(whole, everything, local), global_hints(lightness, true_ab) * mask)
