"""Settings of the codebooks, a kind for each set of fields.

A new codebook is a class that `chromaflow.color.codebooks.registry` lists, and here a kind of its
name with the keyword arguments of that class, which joins `AnyCodebook`.
"""

from typing import Annotated, Literal

from pydantic import Field

from chromaflow.settings.base import Kind, one_of

Temperature = Annotated[float, Field(gt=0, le=1)]
"""Of the annealed mean."""

_TEMPERATURE = "of the annealed mean, 0.38 as published by Zhang et al. 2016"


class BinsCodebook(Kind):
    """How color is written, as bins: what every codebook of bins takes."""

    rebalance: float = Field(
        0.5, ge=0, le=1, description="share of the uniform in the prior; 1 weights colors equally"
    )


class GridCodebook(BinsCodebook):
    """Bins on a grid of ab, as Zhang et al. 2016 have them."""

    name: Literal["grid313", "grid529"]
    neighbors: int = Field(5, ge=1, description="bins of a soft encoding, as published")
    sigma: float = Field(5.0, gt=0, description="of the Gaussian of the soft encoding, CIE units")
    temperature: Temperature = Field(0.38, description=_TEMPERATURE)


class Channel50Codebook(BinsCodebook):
    """Bins of a and bins of b, as Hwang and Zhou 2016 have them."""

    name: Literal["channel50"] = "channel50"
    bins: int = Field(50, ge=2, le=256, description="of a and of b each, as published")
    temperature: Temperature = Field(0.38, description=_TEMPERATURE)


class HueChromaCodebook(BinsCodebook):
    """Bins of hue and bins of chroma, as Larsson et al. 2016 have them."""

    name: Literal["hue_chroma"] = "hue_chroma"
    hue_weight: float = Field(
        5.0, gt=0, description="weight of the hue loss relative to the chroma loss, as published"
    )
    fading: bool = Field(True, description="reduce chroma where the hue is uncertain")


class SomCodebook(BinsCodebook):
    """Colors that a self-organizing map learns, as Richart et al. 2017 have them."""

    name: Literal["som"] = "som"
    neurons: int = Field(9, ge=2, le=1024, description="colors to learn; 4 or 9 as published")
    temperature: Temperature = Field(0.38, description=_TEMPERATURE)


class RegressionCodebook(Kind):
    """Two channels, a and b themselves."""

    name: Literal["regression"] = "regression"
    ab_range: float = Field(
        128.0, gt=0, description="ab value, CIE units, that an output of 1 represents"
    )
    bounded: bool = Field(True, description="tanh keeps ab within ab_range")


AnyCodebook = Annotated[
    GridCodebook | Channel50Codebook | HueChromaCodebook | SomCodebook | RegressionCodebook,
    Field(discriminator="name"),
    one_of("grid313"),
]
"""One of the codebooks."""
