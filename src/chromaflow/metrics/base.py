"""What the metrics share: the facts of a metric, what it is given, and the check of its input.

Metrics import torch where they compute, so that settings and pages read their facts without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

_SINGLE = 4  # bytes


class Pictures(NamedTuple):
    """A batch of pictures in every space that a metric measures in.

    Attributes:
        ab: As predicted or stored, (B, 2, H, W), CIE units.
        rgb: With the true lightness, sRGB, (B, 3, H, W), 0..1.
        lab: Of `rgb`, so what a screen shows after clipping to its gamut, (B, 3, H, W).

    Example:
        >>> from chromaflow.color.lab import join, lab_to_rgb, rgb_to_lab
        >>> ab, lightness = torch.full((1, 2, 4, 4), 20.0), torch.full((1, 1, 4, 4), 50.0)
        >>> rgb = lab_to_rgb(join(lightness, ab))
        >>> Pictures(ab, rgb, rgb_to_lab(rgb)).lab.shape
        torch.Size([1, 3, 4, 4])
    """

    ab: Tensor
    rgb: Tensor
    lab: Tensor


class Compared(NamedTuple):
    """A batch of predictions and the ground truth.

    Attributes:
        predicted: The predictions.
        true: The same images in their true colors.
        weights: What each pixel counts where rare colors count more, (B, H, W).

    Example:
        >>> true = Pictures(*(torch.rand(1, channels, 16, 16) for channels in (2, 3, 3)))
        >>> perfect = Compared(predicted=true, true=true, weights=torch.ones(1, 16, 16))
    """

    predicted: Pictures
    true: Pictures
    weights: Tensor


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The facts of a metric of the held-out images.

    Attributes:
        name: In files and settings.
        label: On pages and in tables.
        unit: Of a difference, as it follows a number in a sentence.
        direction: Which way is better. Where it is "none", the goal is the value of the true
            images, which are measured, too.
        decimals: After the point, where it is shown.
        meaning: One plain sentence.
        weighting: What an image counts in the mean over images: all alike, or each as much as its
            pixels weigh, so that rare colors count more.
        per_image: Measures a batch, one value an image: (B,).
        difference_of: In place of `per_image`: the metric whose mean over the predictions is
            compared with its mean over the true images; the absolute difference counts.

    Raises:
        ValueError: Not just one of `per_image` and `difference_of` is given.

    Example:
        >>> from chromaflow.metrics.catalog import METRICS
        >>> metric = METRICS["psnr"]
        >>> f"{metric.label}, {metric.direction} is better: {21.3642:.{metric.decimals}f}"
        'PSNR, higher is better: 21.36'
    """

    name: str
    label: str
    unit: str
    direction: Literal["higher", "lower", "none"]
    decimals: int
    meaning: str
    weighting: Literal["images", "pixels"] = "images"
    per_image: Callable[[Compared], Tensor] | None = None
    difference_of: str = ""

    def __post_init__(self) -> None:
        if (self.per_image is None) == (not self.difference_of):
            raise ValueError(f"metric {self.name}: give it either per_image or difference_of")

    @property
    def can_decide(self) -> bool:
        """Whether models can be compared by it, image by image."""
        return self.per_image is not None and self.direction != "none"


def checked(channels: int, *images: Tensor) -> tuple[Tensor, ...]:
    """Images that are float (B, channels, H, W), all of one shape; half precision as float32.

    Raises:
        ValueError: They are not.

    Example:
        >>> (rgb,) = checked(3, torch.zeros(1, 3, 4, 4, dtype=torch.bfloat16))
        >>> rgb.dtype
        torch.float32
    """
    for image in images:
        if image.ndim != 4 or image.shape[1] != channels or not image.is_floating_point():
            raise ValueError(
                f"images must be float (B, {channels}, H, W), not {image.dtype} "
                f"{tuple(image.shape)}"
            )
        if image.shape != images[0].shape:
            raise ValueError(f"shapes differ: {tuple(images[0].shape)} and {tuple(image.shape)}")
    return tuple(image if image.itemsize >= _SINGLE else image.float() for image in images)
