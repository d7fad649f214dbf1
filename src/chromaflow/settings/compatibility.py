"""Which losses fit which codebooks and networks; checked before anything is fetched or built."""

from collections.abc import Collection

_OF_BINS = {"cross_entropy", "kl"}
_BESIDE = {"adversarial", "colorfulness", "scene", "suggestions"}
_OF_NETWORKS = {"scene": "iizuka", "suggestions": "zhang2017"}


def check_fit(losses: Collection[str], codebook: str, network: str) -> None:
    """Refuse losses that the codebook or network does not support.

    Args:
        losses: Names in `training.losses`.
        codebook: `model.codebook`.
        network: `model.network`.

    Raises:
        ValueError: They do not fit; names both sides, and what fits.
    """
    classifying = sorted(_OF_BINS.intersection(losses))
    if classifying and codebook == "regression":
        raise ValueError(
            f"training.losses names {' and '.join(classifying)}, which needs a codebook of bins, "
            f"but model.codebook = {codebook}; set training.losses to l2, l1 or huber, or "
            "model.codebook to one of bins, such as grid313"
        )
    for loss, owner in _OF_NETWORKS.items():
        if loss in losses and network != owner:
            raise ValueError(
                f"training.losses names {loss}, which only the network {owner} has an output "
                f"for, but model.network = {network}; remove {loss} from training.losses, or set "
                f"model.network to {owner}"
            )
    if not set(losses) - _BESIDE:
        raise ValueError(
            f"training.losses names only {' and '.join(sorted(losses))}, so nothing compares the "
            "color with the picture's; add another loss, such as l1"
        )
