"""What every network is and offers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from chromaflow.errors import ModelError


class Hints(NamedTuple):
    """A user's hints about the colors of a picture.

    Attributes:
        local: (B, 3, H, W): a and b in CIE units where the mask, 0 or 1, is set; else 0.
        global_hints: (B, 316): shares of the 313 bins of
            `chromaflow.color.codebooks.grid.BINS`, and
            whether they are given; mean saturation in 0..1 and whether it is given.
    """

    local: Tensor
    global_hints: Tensor


class Reference(NamedTuple):
    """A picture whose colors are known, such as the key frame of a shot.

    Attributes:
        lightness: (B, 1, H, W), 0..100.
        ab: (B, 2, H, W), CIE units.
        known: (B,): 1 where there is a reference, 0 where there is none.
    """

    lightness: Tensor
    ab: Tensor
    known: Tensor


Guide = Hints | Reference


class Outputs(NamedTuple):
    """What a network gives while it trains.

    Attributes:
        logits: (B, channels, h, w) in the terms of the codebook; or (B, channels, 1, N) at
            `places`.
        places: int64 (B, N), positions row·w + column of the logits where the network trains on
            some pixels only; None where it trains on all.
        extras: Further outputs by the name of the loss that learns from them, such as "scene".
    """

    logits: Tensor
    places: Tensor | None
    extras: Mapping[str, Tensor]


class Network(nn.Module, ABC):
    """A network on (B, 1, H, W) lightness, 0..100; its own scaling is its own business.

    The constructor takes `channels`, those of the codebook, and sizes by name; `width` and `depth`
    are relative to what was published.

    Attributes:
        name: By which recipes and model folders know it.
        stride: Side of a pixel of its output, in pixels of its input.
        multiple: The sides of its input are multiples of this.
        guide: The type that it can be guided by, or None.
        receptive_field: Side of the patch that decides the color of a pixel, where it is small.
        backbone: The module with published weights, None where there is none.
    """

    name = ""
    stride: int
    multiple: int
    guide: type[Hints] | type[Reference] | None = None
    receptive_field: int | None = None
    backbone: Any

    def __init__(self) -> None:
        super().__init__()
        self.backbone = None

    @abstractmethod
    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:
        """Logits of lightness.

        Args:
            lightness: (B, 1, H, W), 0..100; H and W multiples of `multiple`.
            guide: Of type `self.guide`, or None.

        Returns:
            (B, channels, H / stride, W / stride).
        """

    def outputs(self, lightness: Tensor, guide: Any = None) -> Outputs:
        """What the network gives while it trains; the same logits where it does nothing else."""
        return Outputs(self(lightness, guide), None, {})

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON and for `build_network(**config)`; nothing of weights."""


def scaled(channels: int, width: float) -> int:
    """A published number of channels at another width: a multiple of 8, and at least 8.

    Args:
        channels: As published.
        width: Relative to what was published; 1 leaves every number as it is.
    """
    return channels if width == 1 else max(8, round(channels * width / 8) * 8)


def repeated(layers: int, depth: float) -> int:
    """A published number of like layers at another depth, at least 1."""
    return max(1, round(layers * depth))


def check_scale(network: str, **scales: float) -> None:
    """Refuse a width or a depth that no network can have.

    Raises:
        ModelError: One is not in 0.01..8; by name.
    """
    for name, scale in scales.items():
        number = isinstance(scale, int | float) and not isinstance(scale, bool)
        if not number or not 0.01 <= scale <= 8:
            raise ModelError(
                f"network {network}: {name} = {scale!r} is not in 0.01..8, relative to what was "
                "published",
                f"set model.network.{name}",
            )
