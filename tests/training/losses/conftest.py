from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import rgb2lab
from skimage.transform import resize
from torch import Tensor

from chromaflow.color.codebooks.registry import Codebook, build_codebook
from chromaflow.models.colorizer import Colorizer
from chromaflow.models.networks.base import Network, Outputs
from chromaflow.training.losses import Step


class Given(Network):
    """Stands where a network has given its outputs already."""

    name = "given"
    multiple = 1

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, lightness: Tensor, guide: object = None) -> Tensor:
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        return {"name": self.name}


MakeStep = Callable[..., Step]


@pytest.fixture(scope="session")
def make_step() -> MakeStep:
    """A step of logits and of true colors, (B, 2, H, W), on a codebook by name."""

    def make(
        logits: Tensor,
        true_ab: Tensor,
        codebook: str | Codebook = "regression",
        lightness: Tensor | None = None,
        places: Tensor | None = None,
        **settings: Any,
    ) -> Step:
        book = build_codebook(codebook, **settings) if isinstance(codebook, str) else codebook
        stride = 1 if places is not None else true_ab.shape[-1] // logits.shape[-1]
        if lightness is None:
            lightness = torch.full_like(true_ab[:, :1], 50.0)
        outputs = Outputs(logits, places, {})
        return Step(Colorizer(Given(stride), book), outputs, lightness, true_ab)

    return make


@pytest.fixture(scope="session")
def photographs() -> tuple[Tensor, Tensor]:
    """Lightness (3, 1, 64, 64) and ab (3, 2, 64, 64) of photographs."""
    images = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    small = np.stack([rgb2lab(resize(image, (64, 64), anti_aliasing=True)) for image in images])
    lab = torch.from_numpy(small).float().movedim(-1, 1)
    return lab[:, :1].contiguous(), lab[:, 1:].contiguous()
