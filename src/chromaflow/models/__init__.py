"""Colorization networks, and the model folder that keeps one with its codebook."""

import difflib
import importlib
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chromaflow.color.codebooks.registry import build_codebook, codebook_settings
from chromaflow.errors import ModelError
from chromaflow.models.colorizer import Colorizer
from chromaflow.models.networks.base import Network

if TYPE_CHECKING:
    # A model that serves needs no settings, nor the library that checks them.
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

NETWORKS = (
    "attention_fusion",
    "cheng",
    "dahl",
    "ddcolor",
    "efficientnet_lite0",
    "hwang_zhou",
    "iizuka",
    "koalarization",
    "larsson",
    "propagation",
    "richart",
    "unet",
    "vcnn",
    "zhang2016",
    "zhang2017",
)
"""Names of the networks; each is a module here, and its class the `NETWORK` there."""


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
    model: "Model",
    *,
    rebalance: float,
    histogram: npt.NDArray[np.integer[Any]] | None = None,
    scenes: int = 0,
) -> Colorizer:
    """Build a model to train; torch's random state decides the weights that are not published.

    Settings that network and codebook do not have are those of others, and left out.

    Args:
        model: The settings.
        rebalance: Share of the uniform in the codebook's prior.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128].
        scenes: Kinds of scenes that the training images are labeled with; 0: they are not.

    Raises:
        ModelError: An unknown name, a size out of its range, or weights that cannot be had.
    """
    values = {**model.model_dump(), "rebalance": rebalance, "scenes": scenes}
    # An empty text leaves the choice to the network.
    values = {name: value for name, value in values.items() if value != ""}
    wanted = codebook_settings(model.codebook) & values.keys()
    book = build_codebook(model.codebook, histogram, **{name: values[name] for name in wanted})
    sizes = {name: values[name] for name in network_sizes(model.network) & values.keys()}
    return Colorizer(build_network(model.network, book.channels, **sizes), book, model.refine)
