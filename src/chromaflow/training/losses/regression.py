"""Losses on color itself, which every codebook decodes to.

Color enters divided by 128, so that ±1 spans what is stored, the losses of a recipe are of
comparable size, and published figures on ab scaled to ±1 can be met.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from chromaflow.training.losses.context import Step

SCALE = 128.0
"""CIE units that count as 1."""


def l2(step: Step) -> Tensor:
    """1/(2HW) · Σ (ab − âb)², over the pixels and both channels, the mean over images.

    Lakhani, attention fusion, and "Deep Koalarization" (Baldassarre, González Morín and
    Rodés-Guirao 2017), on ab over 128.
    """
    return F.mse_loss(step.ab / SCALE, step.target_ab / SCALE)


def l1(step: Step) -> Tensor:
    """The mean of |ab − âb| over pixels and channels, on ab over 128.

    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
    Eq. 3.
    """
    return F.l1_loss(step.ab / SCALE, step.target_ab / SCALE)


def huber(threshold: float) -> Callable[[Step], Tensor]:
    """The loss of Hwang and Zhou 2016: u² where |u| ≤ M, M·(2·|u| − M) beyond.

    u is the error of one channel over 128, and the loss its mean over pixels and channels. Their
    report states no M; where it is a whole bin of Zhang et al. 2016, 10, an error squares until it
    is another color.

    Args:
        threshold: M, CIE units.
    """

    def loss(step: Step) -> Tensor:
        error = F.huber_loss(step.ab / SCALE, step.target_ab / SCALE, delta=threshold / SCALE)
        # torch's is half of it.
        return 2 * error

    return loss
