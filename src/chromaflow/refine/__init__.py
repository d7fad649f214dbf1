"""Refinement of predicted color by the lightness, by name."""

import importlib

from torch import Tensor

from chromaflow.errors import ModelError

REFINEMENTS = ("none", "crf", "guided", "joint_bilateral", "superpixels", "total_variation")
"""Names of the refinements; each but none is a module here with a function `refine`."""


def check_name(name: str) -> str:
    """The name, if it is that of a refinement.

    Raises:
        ModelError: It is not.
    """
    if name not in REFINEMENTS:
        raise ModelError(f"unknown refinement {name!r}; available: {', '.join(REFINEMENTS)}.")
    return name


def refine(name: str, lightness: Tensor, ab: Tensor) -> Tensor:
    """Refine the color of pictures.

    Args:
        name: One of `REFINEMENTS`; none gives the color back as it is.
        lightness: (B, 1, H, W), 0..100.
        ab: float32 (B, 2, H, W), CIE units.

    Returns:
        ab of the same shape.
    """
    if name == "none":
        return ab
    module = importlib.import_module(f"chromaflow.refine.{name}")
    refined: Tensor = module.refine(lightness, ab)
    return refined
