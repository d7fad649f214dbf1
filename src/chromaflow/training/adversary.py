"""The discriminator of a recipe with an adversarial loss, and its own steps.

Lightning sees one optimizer, the network's, so that steps, data order and resume count its steps
alone. The discriminator learns inside the training step, before the network's loss is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.networks.parts.patchgan import PatchGAN
from chromaflow.training.optimizers import rate_at

if TYPE_CHECKING:
    from chromaflow.settings import Training
    from chromaflow.settings.losses import AdversarialLoss
    from chromaflow.training.losses.context import Step

_REAL = 0.9
"""What the discriminator is to say of true color."""


def _judge(logits: Tensor, target: float) -> Tensor:
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


class Adversary(nn.Module):
    """A PatchGAN that distinguishes true color from predicted color, and the loss that it gives.

    Goodfellow et al., "Generative Adversarial Nets", NIPS 2014, with the network's loss that does
    not saturate, −log D, as Isola et al. 2017 and Nazeri, Ng and Ebrahimi 2018 use it; and the
    latter's one-sided label smoothing, 0.9 for true color (Salimans et al. 2016).

    True color is shown at the resolution that the network gives, enlarged in the same way: else
    the blur of a network whose output is small would give it away, whatever its colors.

    Its parameters need gradients only while it learns: distributed training, which looks for
    parameters that do, passes it over.

    Args:
        own: The settings of this loss.
        training: Its `learning_rate`, `schedule`, `betas` and `accumulate` count.

    Attributes:
        discriminator: Takes lightness and ab, gives logits of patches.
        optimizer: Its own, Adam, whose rate follows the schedule of the network's.

    Raises:
        ModelError: A width out of its range.
    """

    def __init__(self, own: AdversarialLoss, training: Training) -> None:
        super().__init__()
        self._rate, self._training = own.discriminator_rate, training
        self.discriminator = PatchGAN(width=own.discriminator_width)
        self.discriminator.requires_grad_(requires_grad=False)
        first, second = training.betas
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(), training.learning_rate, betas=(first, second)
        )
        self._kept: dict[str, Any] | None = None

    def forward(self, step: Step) -> Tensor:
        """The loss of the network: how little its color is taken for true, a scalar.

        Raises:
            SettingsError: The network trains on some pixels, not on pictures.
        """
        return _judge(self.discriminator(step.lightness, step.full_ab), 1.0)

    def learn(self, step: Step, number: int, part: int) -> Tensor:
        """Learn from a batch; after the last batch of an optimizer step, take one.

        In full precision: nothing scales these gradients up where halves would lose them.

        Args:
            step: What the network predicts goes in without its gradients.
            number: Optimizer steps that the network has taken.
            part: Of `training.accumulate` batches, which one this is.

        Returns:
            The loss of the discriminator, a scalar without gradients.

        Raises:
            SettingsError: The network trains on some pixels, not on pictures.
        """
        predicted, true = step.full_ab.detach(), step.model.enlarge(step.target_ab)
        self.discriminator.requires_grad_()
        if part == 0:
            self.optimizer.zero_grad()
        with torch.autocast(step.lightness.device.type, enabled=False):
            real = _judge(self.discriminator(step.lightness, true), _REAL)
            loss = 0.5 * (real + _judge(self.discriminator(step.lightness, predicted), 0.0))
            (loss / self._training.accumulate).backward()  # type: ignore[no-untyped-call]
        if part == self._training.accumulate - 1:
            self._step(number)
        self.discriminator.requires_grad_(requires_grad=False)
        return loss.detach()

    def _step(self, number: int) -> None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            ranks = torch.distributed.get_world_size()
            for parameter in self.discriminator.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad.div_(ranks))
        if self._kept is not None:
            self.optimizer.load_state_dict(self._kept)
            self._kept = None
        training = self._training
        rate = training.learning_rate * self._rate * rate_at(number, training)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()

    def optimizer_state(self) -> dict[str, Any]:
        """The state of the optimizer; weights are in the module's own."""
        return self._kept or self.optimizer.state_dict()

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """Go on from a state; it is taken up at the next step, where the weights are by then."""
        self._kept = state
