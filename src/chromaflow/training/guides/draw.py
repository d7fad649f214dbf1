"""What guides a network while it trains, drawn from the true colors."""

from torch import Tensor

from chromaflow.models.networks.base import Guide, Hints, Network
from chromaflow.training.guides.hints import draw_hints
from chromaflow.training.guides.references import draw_reference


def draw_guide(network: Network, lightness: Tensor, true_ab: Tensor) -> Guide | None:
    """A guide for a batch, by torch's random state.

    Args:
        network: Its `guide` says of which type.
        lightness: (B, 1, H, W), 0..100.
        true_ab: (B, 2, H, W), CIE units.

    Returns:
        None for a network that is not guided.
    """
    if network.guide is None:
        return None
    if network.guide is Hints:
        return draw_hints(lightness, true_ab)
    return draw_reference(lightness, true_ab)
