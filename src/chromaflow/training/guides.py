"""What guides a network while it trains, drawn from the true colors."""

from torch import Tensor

from chromaflow.models.base import Guide, Network


def draw_guide(network: Network, lightness: Tensor, true_ab: Tensor) -> Guide | None:
    """A guide for a batch, by torch's random state.

    Args:
        network: Its `guide` says of which type.
        lightness: (B, 1, H, W), 0..100.
        true_ab: (B, 2, H, W), CIE units.

    Returns:
        None for a network that is not guided.
    """
    del lightness, true_ab
    if network.guide is None:
        return None
    raise NotImplementedError(network.guide)
