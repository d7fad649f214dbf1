"""What the metrics share: the check of their input, and the mean over images."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric


def check_images(channels: int, *images: Tensor) -> None:
    """Make sure that images are float (B, channels, H, W), all of one shape.

    Raises:
        ValueError: They are not.
    """
    for image in images:
        if image.ndim != 4 or image.shape[1] != channels or not image.is_floating_point():
            raise ValueError(
                f"images must be float (B, {channels}, H, W), not {image.dtype} "
                f"{tuple(image.shape)}"
            )
        if image.shape != images[0].shape:
            raise ValueError(f"shapes differ: {tuple(images[0].shape)} and {tuple(image.shape)}")


class MeanOverImages(Metric):
    """The mean of a per-image function over all images seen, on any number of devices.

    Attributes:
        per_image: The function: a batch of images, or of predictions and truths, to values (B,).
    """

    per_image: ClassVar[Callable[..., Tensor]]
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, *images: Tensor) -> None:
        """Take in a batch; arguments as those of the function."""
        values = type(self).per_image(*images)
        self.total += values.sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """The mean over images."""
        return self.total / self.count
