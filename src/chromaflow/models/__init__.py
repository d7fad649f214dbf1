"""Colorization networks, and the model folder that keeps one with its codebook."""

import difflib
import inspect
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from chromaflow.color.codebook import build_codebook
from chromaflow.errors import ModelError
from chromaflow.models.colorizer import Colorizer, Network
from chromaflow.models.efficientnet import EfficientNetColorizer

__all__ = ["NETWORKS", "Colorizer", "Network", "build_model", "build_network"]

NETWORKS: dict[str, type[nn.Module]] = {"efficientnet_lite0": EfficientNetColorizer}


def build_network(name: str, channels: int, **sizes: Any) -> nn.Module:
    """Build a network.

    Args:
        name: A key of `NETWORKS`.
        channels: Channels of its output, those of the codebook.
        sizes: The network's own.

    Raises:
        ModelError: An unknown name or size, or a size out of its range.
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, n=3, cutoff=0.4) or sorted(NETWORKS)
        raise ModelError(
            f"unknown network {name!r}; did you mean {', '.join(near)}?", "set model.network"
        )
    network = NETWORKS[name]
    known = set(inspect.signature(network).parameters) - {"channels"}
    for size in sorted(sizes.keys() - known):
        raise ModelError(f"network {name} has no size {size}; it has {', '.join(sorted(known))}")
    return network(channels, **sizes)


def build_model(
    network: str,
    codebook: str,
    *,
    width: int,
    pretrained: bool,
    temperature: float,
    rebalance: float,
    histogram: npt.NDArray[np.integer[Any]] | None = None,
) -> Colorizer:
    """Build a model to train; torch's random state decides the weights that are not pretrained.

    Args:
        network: A key of `NETWORKS`.
        codebook: A key of `chromaflow.color.codebook.CODEBOOKS`.
        width: Channels of the network's decoder.
        pretrained: Start from the encoder's published weights.
        temperature: Of the codebook's annealed mean.
        rebalance: Share of the uniform in the codebook's prior.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128].

    Raises:
        ModelError: An unknown name, a size out of its range, or weights that cannot be read.
    """
    book = build_codebook(codebook, histogram, temperature=temperature, rebalance=rebalance)
    net = build_network(network, book.channels, width=width, pretrained=pretrained)
    return Colorizer(net, book)
