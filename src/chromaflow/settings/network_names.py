"""The networks by name, grouped by the size settings that they take: the only list of them.

It needs no library, so that the command line knows the names without torch, and inference knows
them without pydantic. A new network is one module of its name in
`chromaflow.models`, and its name here.
"""

from typing import Literal, get_args

Wide = Literal["iizuka", "richart", "vcnn"]
"""Those that take a width."""

Deep = Literal["unet", "zhang2016", "zhang2017"]
"""Those that take a width and a depth."""

OnBackbone = Literal[
    "attention_fusion", "dahl", "efficientnet_lite0", "hwang_zhou", "koalarization", "larsson"
]
"""Those that take a width, a backbone and its weights."""

DeepOnBackbone = Literal["cheng", "ddcolor", "propagation"]
"""Those that take a width, a depth, a backbone and its weights."""

NETWORKS: tuple[str, ...] = tuple(
    sorted(name for names in (Wide, Deep, OnBackbone, DeepOnBackbone) for name in get_args(names))
)
"""Their names."""
