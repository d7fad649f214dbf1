"""Settings of the networks, a kind for each set of size settings.

`chromaflow.settings.network_names` lists which network takes which. One that takes others is a new
kind, which joins `AnyNetwork`; the size settings are keyword arguments of the network's class.
"""

from typing import Annotated

from pydantic import Field

from chromaflow.settings.base import Kind, one_of
from chromaflow.settings.network_names import Deep, DeepOnBackbone, OnBackbone, Wide


class NetworkSettings(Kind):
    """What turns lightness into the codebook's channels: what every network takes."""

    width: float = Field(1.0, gt=0, le=8, description="channels relative to the published number")


class WideNetwork(NetworkSettings):
    """A network that can be made wider."""

    name: Wide


class DeepNetwork(NetworkSettings):
    """A network that can be made wider and deeper."""

    name: Deep
    depth: float = Field(1.0, gt=0, le=8, description="layers relative to the published number")


class PretrainedNetwork(NetworkSettings):
    """What every network on a backbone takes."""

    backbone: str = Field(
        "", description="name in timm; empty: the one used in the network's paper"
    )
    weights: str = Field(
        "published",
        description="of the backbone: published, none, or a safetensors file with timm's keys",
    )


class BackboneNetwork(PretrainedNetwork):
    """A network on a backbone that can be made wider."""

    name: OnBackbone


class DeepBackboneNetwork(PretrainedNetwork):
    """A network on a backbone that can be made wider and deeper."""

    name: DeepOnBackbone
    depth: float = Field(1.0, gt=0, le=8, description="layers relative to the published number")


AnyNetwork = Annotated[
    WideNetwork | DeepNetwork | BackboneNetwork | DeepBackboneNetwork,
    Field(discriminator="name"),
    one_of("efficientnet_lite0"),
]
"""One of the networks."""
