"""Area under the curve of accuracy over the allowed error, Zhang et al. 2016."""

import torch
from torch import Tensor

from chromaflow.metrics.base import MeanOverImages, check_images

_THRESHOLDS = 151  # 0, 1, …, 150


def auc(predicted_ab: Tensor, true_ab: Tensor, weights: Tensor | None = None) -> Tensor:
    """Share of the pixels whose ab error is at most t, averaged over t = 0, 1, …, 150.

    A pixel of error e is right for the 151 − ⌈e⌉ thresholds from ⌈e⌉ on, so that the average over
    thresholds is a mean over pixels.

    Args:
        predicted_ab: (B, 2, H, W), CIE units.
        true_ab: Of the same shape.
        weights: What each pixel counts, (B, H, W), at least 0; the rebalanced metric gives the
            inverse frequency of the true color. An image of weight 0 gets 0.

    Returns:
        Percent, 0..100, (B,). To aggregate weighted images, weigh each by the sum of its weights.

    Raises:
        ValueError: Other shapes or types.
    """
    check_images(2, predicted_ab, true_ab)
    error = torch.hypot(*(predicted_ab - true_ab).unbind(1))
    share = (_THRESHOLDS - error.ceil()).clamp(min=0) / _THRESHOLDS
    if weights is None:
        return 100 * share.mean(dim=(1, 2))
    if weights.shape != share.shape:
        raise ValueError(f"weights must be {tuple(share.shape)}, not {tuple(weights.shape)}")
    mass = weights.sum(dim=(1, 2))
    return 100 * (weights * share).sum(dim=(1, 2)) / mass.clamp(min=torch.finfo(mass.dtype).tiny)


class Auc(MeanOverImages):
    """Mean of `auc` over images; with weights, over all pixels by their weight."""

    per_image = staticmethod(auc)
    higher_is_better = True

    def update(self, *images: Tensor) -> None:
        """Take in a batch; arguments as those of `auc`, with weights always or never."""
        values = auc(*images)
        mass = images[2].sum(dim=(1, 2)) if len(images) == 3 else torch.ones_like(values)
        self.total += (values * mass).sum()
        self.count += mass.sum()
