"""Models that are a plain function of L, and predictors that use them."""

import torch
from torch import Tensor

from chromaflow.colorize.predictor import Predictor, PredictsColor
from chromaflow.models.networks.base import Guide, Hints


class TintModel:
    """Predicts ab as a smooth function of L and of the place, scaled by `strength`.

    Hints and refinements are ignored.
    """

    name = "tint"
    guide: type[Hints] | None = None

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength
        self.shapes: list[tuple[int, ...]] = []

    def predict_ab(
        self,
        lightness: Tensor,
        guide: Guide | None = None,  # noqa: ARG002
        *,
        refine: str | None = None,  # noqa: ARG002
    ) -> Tensor:
        self.shapes.append(tuple(lightness.shape))
        place = torch.linspace(-1, 1, lightness.shape[-1]).expand_as(lightness)
        a = 20 * torch.sin(lightness / 30) + 10 * place
        b = 15 - lightness / 5
        return self.strength * torch.cat((a, b), dim=1)


def predictor_of(model: PredictsColor, *, size: int = 64, digest: str = "0" * 64) -> Predictor:
    """A predictor on the CPU that sees little, so that tests are fast."""
    return Predictor(model, digest, size, torch.device("cpu"))
