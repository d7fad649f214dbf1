"""How steady the colors of a video are: color distribution consistency.

Liu et al. 2021, "Temporally Consistent Video Colorization with Deep Feature Propagation and
Self-regularization Learning", section 4.1, with the natural logarithm as in their code.
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from chromaflow.metrics.base import checked

GAPS = (1, 2, 4)
_LEVELS = 256


def channel_histograms(rgb: Tensor) -> Tensor:
    """Shares of the 256 levels of each channel.

    Args:
        rgb: sRGB, (B, 3, H, W), 0..1.

    Returns:
        float64 (B, 3, 256); those of a channel sum to 1.

    Raises:
        ValueError: Another shape or type.

    Example:
        >>> shares = channel_histograms(torch.ones(1, 3, 8, 8))
        >>> shares.shape, shares[0, :, 255].tolist()
        (torch.Size([1, 3, 256]), [1.0, 1.0, 1.0])
    """
    (rgb,) = checked(3, rgb)
    levels = (rgb.clamp(0, 1) * (_LEVELS - 1)).round().long().flatten(2)
    counts = torch.zeros(*levels.shape[:2], _LEVELS, dtype=torch.float64, device=rgb.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels, dtype=torch.float64))
    return counts / levels.shape[2]


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Jensen–Shannon divergence of distributions (…, N), in nats: 0 (equal) to ln 2 (disjoint).

    Example:
        >>> first, second = torch.eye(3)[:2]
        >>> jensen_shannon(first, first).item(), round(jensen_shannon(first, second).item(), 4)
        (0.0, 0.6931)
    """
    middle = (first + second) / 2
    # Where a share is zero it adds nothing, though the logarithm has no value there.
    terms = (torch.xlogy(share, share) - torch.xlogy(share, middle) for share in (first, second))
    return sum(terms, torch.zeros_like(middle)).sum(dim=-1) / 2


def cdc(frames: Tensor) -> Tensor:
    """Color distribution consistency of a video: the lower, the steadier.

    For each gap t of 1, 2 and 4: the mean over channels and over pairs of frames t apart of the
    divergence of their histograms. The mean over the gaps.

    Args:
        frames: sRGB, (T, 3, H, W), 0..1, at least 5 frames.

    Returns:
        A scalar, 0..ln 2; footage with its true colors is about 0.001..0.01.

    Raises:
        ValueError: Another shape or type, or too few frames.

    Example:
        >>> frames = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8).repeat(5, 3, 1, 1)
        >>> cdc(frames).item(), bool(cdc(frames**0.5) < cdc(frames ** torch.rand(5, 1, 1, 1)))
        (0.0, True)
    """
    if len(frames) <= max(GAPS):
        raise ValueError(f"CDC needs at least {max(GAPS) + 1} frames, not {len(frames)}")
    histograms = channel_histograms(frames)
    means = [jensen_shannon(histograms[:-gap], histograms[gap:]).mean() for gap in GAPS]
    return torch.stack(means).mean()


class Cdc(Metric):
    """`cdc` of a video that is given part by part, in order; memory does not grow with it.

    Example:
        >>> metric, frames = Cdc(), torch.rand(9, 3, 8, 8)
        >>> for part in frames.split(2):
        ...     metric.update(part)
        >>> bool(metric.compute().isclose(cdc(frames)))
        True
    """

    full_state_update = False
    recent: Tensor
    totals: Tensor
    pairs: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Frames in order cannot be dealt out to devices, so nothing is reduced.
        self.add_state("recent", torch.zeros(0, 3, _LEVELS, dtype=torch.float64))
        self.add_state("totals", torch.zeros(len(GAPS), dtype=torch.float64))
        self.add_state("pairs", torch.zeros(len(GAPS), dtype=torch.float64))

    def update(self, frames: Tensor) -> None:
        """Take in the next frames, (T, 3, H, W), sRGB in 0..1; any number of them."""
        histograms = torch.cat((self.recent, channel_histograms(frames)))
        known = len(self.recent)
        for place, gap in enumerate(GAPS):
            later = histograms[max(known, gap) :]
            earlier = histograms[max(known, gap) - gap :][: len(later)]
            self.totals[place] += jensen_shannon(earlier, later).mean(dim=-1).sum()
            self.pairs[place] += len(later)
        self.recent = histograms[-max(GAPS) :]

    def compute(self) -> Tensor:
        """The consistency of all frames so far; not a number where they are too few."""
        return (self.totals / self.pairs).mean()
