"""Settings of the losses: what is minimized is a sum of them, each with its weight.

A new loss is a function or module that `chromaflow.training.losses` lists, and here a field of its
name in `LossSettings`; what only it asks for is a group of its own, as `HuberLoss` is.
"""

from typing import Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from chromaflow.settings.base import Group


class WeightedLoss(Group):
    """A loss with its weight in the sum; the weight alone may stand for it."""

    short: ClassVar[str] = "weight"

    weight: float = Field(gt=0, description="in the sum of the losses")

    @model_validator(mode="before")
    @classmethod
    def _weight_alone(cls, value: object) -> object:
        alone = isinstance(value, int | float) and not isinstance(value, bool)
        return {"weight": value} if alone else value


class HuberLoss(WeightedLoss):
    """The Huber loss."""

    threshold: float = Field(
        10.0, gt=0, description="larger errors are linear, not squared; CIE units"
    )


class PerceptualLoss(WeightedLoss):
    """The distance in the features of a backbone."""

    backbone: str = Field(
        "", description="name in timm, such as vgg16; empty: tf_efficientnet_lite0"
    )
    backbone_weights: str = Field("published", description="published, or a safetensors file")


class AdversarialLoss(WeightedLoss):
    """The adversarial loss of a discriminator that is trained together with the network."""

    discriminator_width: float = Field(
        1.0, gt=0, le=8, description="channels relative to the published number"
    )
    discriminator_rate: float = Field(
        1.0, gt=0, description="the discriminator's learning rate relative to the network's"
    )


class LossSettings(Group):
    """What is minimized: the sum of the losses that are named, in the order of the fields."""

    cross_entropy: WeightedLoss | None = Field(None, description="of bins, class-rebalanced")
    kl: WeightedLoss | None = Field(None, description="Kullback-Leibler divergence of bins")
    l2: WeightedLoss | None = Field(None, description="squared error of color")
    l1: WeightedLoss | None = Field(None, description="absolute error of color")
    huber: HuberLoss | None = Field(None, description="squared error of color up to a threshold")
    perceptual: PerceptualLoss | None = Field(None, description="distance in a backbone's features")
    adversarial: AdversarialLoss | None = Field(
        None, description="of a discriminator trained with the network"
    )
    colorfulness: WeightedLoss | None = Field(
        None, description="penalty for a lack of colorfulness"
    )
    scene: WeightedLoss | None = Field(None, description="cross-entropy of the labels of images")
    suggestions: WeightedLoss | None = Field(None, description="cross-entropy of suggested colors")

    @model_validator(mode="after")
    def _some(self) -> "LossSettings":
        if not self.named():
            raise ValueError("training.losses is empty; add one, such as {l1: 1.0}")
        return self

    @model_serializer(mode="wrap")
    def _only_named(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: loss for name, loss in handler(self).items() if loss is not None}

    def named(self) -> dict[str, WeightedLoss]:
        """The active losses by name, in the order in which they are summed."""
        found = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: loss for name, loss in found if loss is not None}

    def __contains__(self, name: object) -> bool:
        return name in self.named()
