"""Settings of the networks: kinds by the sizes that they take.

`chromaflow.settings.network_names` says which network takes which. One that takes other sizes is a
new kind, which joins `AnyNetwork`; a network's sizes are the keyword arguments of its class.
"""

from typing import Annotated

from pydantic import Field

from chromaflow.settings.base import Kind, one_of
from chromaflow.settings.network_names import Deep, DeepOnBackbone, OnBackbone, Wide


class NetworkSettings(Kind):
    """What turns lightness into the codebook's channels: what every network takes."""

    width: float = Field(1.0, gt=0, le=8, description="channels, over those that were published")


class WideNetwork(NetworkSettings):
    """A network that can be made wider."""

    name: Wide


class DeepNetwork(NetworkSettings):
    """A network that can be made wider and deeper."""

    name: Deep
    depth: float = Field(
        1.0, gt=0, le=8, description="layers alike, over those that were published"
    )


class PretrainedNetwork(NetworkSettings):
    """What every network on a backbone takes."""

    backbone: str = Field("", description="of timm by name; empty: the one of the network's paper")
    weights: str = Field(
        "published",
        description="of the backbone: published, none, or a safetensors file in timm's terms",
    )


class BackboneNetwork(PretrainedNetwork):
    """A network on a backbone that can be made wider."""

    name: OnBackbone


class DeepBackboneNetwork(PretrainedNetwork):
    """A network on a backbone that can be made wider and deeper."""

    name: DeepOnBackbone
    depth: float = Field(
        1.0, gt=0, le=8, description="layers alike, over those that were published"
    )


AnyNetwork = Annotated[
    WideNetwork | DeepNetwork | BackboneNetwork | DeepBackboneNetwork,
    Field(discriminator="name"),
    one_of("efficientnet_lite0"),
]
"""One of the networks."""
