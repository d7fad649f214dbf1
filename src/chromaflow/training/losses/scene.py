"""The loss of classification of whole pictures."""

import torch.nn.functional as F
from torch import Tensor

from chromaflow.training.losses.context import Step

UNKNOWN = -1


def scene(step: Step) -> Tensor:
    """Cross-entropy of the network's output "scene" with the labels of the images.

    Iizuka, Simo-Serra and Ishikawa, "Let there be Color!", ACM Transactions on Graphics 35(4),
    2016, section 3.

    Returns:
        The mean over the images that have a label, a scalar; 0 where none has one, and where the
        network predicts no scenes, as there are not two of them.
    """
    logits = step.outputs.extras.get("scene")
    if logits is None or step.scenes is None:
        return step.logits.new_zeros(())
    total = F.cross_entropy(logits.float(), step.scenes, ignore_index=UNKNOWN, reduction="sum")
    return total / (step.scenes != UNKNOWN).sum().clamp(min=1)
