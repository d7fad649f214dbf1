"""What a loss can access: a batch, and the network's outputs for it."""

from dataclasses import dataclass
from functools import cached_property

import torch.nn.functional as F
from torch import Tensor

from chromaflow.color.lab import join, lab_to_rgb
from chromaflow.errors import SettingsError
from chromaflow.models.colorizer import Colorizer
from chromaflow.models.networks.base import Outputs


@dataclass(frozen=True)
class Step:
    """A batch and the network's outputs; what is derived is computed once, where it is asked for.

    Args:
        model: The network and its codebook.
        outputs: Of the network.
        lightness: (B, 1, H, W), 0..100.
        true_ab: (B, 2, H, W), CIE units.
        scenes: Labels of the images, int64 (B,), −1 where there is none; None where none has one.
    """

    model: Colorizer
    outputs: Outputs
    lightness: Tensor
    true_ab: Tensor
    scenes: Tensor | None = None

    @property
    def logits(self) -> Tensor:
        """(B, channels, h, w), or (B, channels, 1, N) where the network trains on some pixels."""
        return self.outputs.logits

    @cached_property
    def target_ab(self) -> Tensor:
        """The true color of each logit, (B, 2, h, w): the mean over the area it stands for."""
        ab = (
            F.avg_pool2d(self.true_ab, self.model.stride) if self.model.stride > 1 else self.true_ab
        )
        places = self.outputs.places
        if places is None:
            return ab
        return ab.flatten(2).gather(2, places[:, None].expand(-1, 2, -1))[:, :, None]

    @cached_property
    def ab(self) -> Tensor:
        """The predicted color of each logit, float32 (B, 2, h, w), with gradients."""
        return self.model.codebook.decode(self.logits)

    @cached_property
    def full_ab(self) -> Tensor:
        """The predicted color at the size of the image, float32 (B, 2, H, W).

        Raises:
            SettingsError: The network trains on some pixels only.
        """
        if self.outputs.places is not None:
            raise SettingsError(
                f"the network {self.model.network.name} trains on some pixels of an image, and "
                "adversarial, perceptual and colorfulness are losses of whole pictures.",
                "remove them from training.losses, or set model.network",
            )
        return self.model.enlarge(self.ab)

    @cached_property
    def rgb(self) -> Tensor:
        """The predicted picture, (B, 3, H, W), sRGB in 0..1."""
        return lab_to_rgb(join(self.lightness, self.full_ab))

    @cached_property
    def true_rgb(self) -> Tensor:
        """The true picture, (B, 3, H, W), sRGB in 0..1."""
        return lab_to_rgb(join(self.lightness, self.true_ab))
