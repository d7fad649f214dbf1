"""Codebooks by name."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from chromaflow.color.codebooks.base import Codebook
from chromaflow.color.codebooks.channel50 import Channel50
from chromaflow.color.codebooks.grid import Grid313, Grid529
from chromaflow.color.codebooks.hue_chroma import HueChroma
from chromaflow.color.codebooks.regression import Regression
from chromaflow.color.codebooks.som import SelfOrganizingMap
from chromaflow.errors import ModelError

__all__ = ["CODEBOOKS", "Codebook", "build_codebook", "codebook_settings"]

CODEBOOKS: dict[str, type[Codebook]] = {
    book.name: book
    for book in (Grid313, Grid529, Channel50, HueChroma, SelfOrganizingMap, Regression)
}


def _near(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    return ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names)


def codebook_settings(name: str) -> set[str]:
    """Names of the settings that a codebook takes.

    Args:
        name: A key of `CODEBOOKS`.

    Example:
        >>> sorted(codebook_settings("regression"))
        ['ab_range', 'bounded']
    """
    return set(inspect.signature(CODEBOOKS[name]).parameters) - {"histogram"}


def build_codebook(
    name: str, histogram: npt.NDArray[np.integer[Any]] | None = None, **settings: Any
) -> Codebook:
    """Build a codebook.

    Args:
        name: A key of `CODEBOOKS`.
        histogram: Pixel counts of the training split, (256, 256), at [a + 128, b + 128]; None
            where a state dict follows.
        settings: The codebook's own; those left out take its defaults.

    Raises:
        ModelError: An unknown name or setting, or a setting or histogram that cannot be.

    Example:
        >>> codebook = build_codebook("grid313", temperature=0.5)
        >>> codebook.decode(torch.zeros(2, codebook.channels, 8, 8)).shape
        torch.Size([2, 2, 8, 8])
    """
    if name not in CODEBOOKS:
        raise ModelError(
            f"unknown codebook {name!r}; did you mean {_near(str(name), CODEBOOKS)}?",
            "set model.codebook",
        )
    codebook, known = CODEBOOKS[name], codebook_settings(name)
    for setting in settings.keys() - known:
        raise ModelError(
            f"codebook {name} has no setting {setting}; did you mean {_near(setting, known)}?"
        )
    return codebook.from_statistics(histogram, **settings)
