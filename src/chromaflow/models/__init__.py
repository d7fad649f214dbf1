"""Colorization networks, and the model folder that keeps one with its codebook."""

import difflib
import importlib
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import ModelError
from chromaflow.models.colorizer import Colorizer
from chromaflow.models.networks.base import Network
from chromaflow.settings.network_names import NETWORKS

if TYPE_CHECKING:
    # Inference needs no settings, nor the library that checks them.
    from chromaflow.settings import Model

__all__ = [
    "NETWORKS",
    "Colorizer",
    "Network",
    "build_model",
    "build_network",
    "network_class",
    "network_sizes",
]


def network_class(name: str) -> type[Network]:
    """The class of a network.

    Raises:
        ModelError: An unknown name.
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, n=3, cutoff=0.4) or NETWORKS
        raise ModelError(
            f"unknown network {name!r}; did you mean {', '.join(near)}?", "set model.network"
        )
    network: type[Network] = importlib.import_module(f"chromaflow.models.networks.{name}").NETWORK
    return network


def network_sizes(name: str) -> set[str]:
    """Names of the sizes that a network takes.

    Raises:
        ModelError: An unknown name.
    """
    return set(inspect.signature(network_class(name)).parameters) - {"channels"}


def build_network(name: str, channels: int, **sizes: Any) -> Network:
    """Build a network.

    Args:
        name: One of `NETWORKS`.
        channels: Channels of its output, those of the codebook.
        sizes: The network's own.

    Raises:
        ModelError: An unknown name or size, or a size out of its range.
    """
    known = network_sizes(name)
    for size in sorted(sizes.keys() - known):
        raise ModelError(f"network {name} has no size {size}; it has {', '.join(sorted(known))}")
    build: Any = network_class(name)
    network: Network = build(channels, **sizes)
    return network


def build_model(
    model: "Model", *, histogram: npt.NDArray[np.integer[Any]] | None = None, scenes: int = 0
) -> Colorizer:
    """Build a model to train; torch's random state decides the weights that are not published.

    Args:
        model: The settings.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128].
        scenes: Kinds of scenes that the training images are labeled with; 0: they are not.

    Raises:
        ModelError: A size out of its range, or weights that cannot be had.
    """
    book = build_codebook(**model.codebook.model_dump(), histogram=histogram)
    sizes = model.network.model_dump()
    name = sizes.pop("name")
    # An empty text leaves the choice to the network.
    sizes = {size: value for size, value in sizes.items() if value != ""}
    if "scenes" in network_sizes(name):
        sizes["scenes"] = scenes
    return Colorizer(build_network(name, book.channels, **sizes), book, model.refine, model.size)
