"""The predictions that every model has to beat: one list, which all tables and decisions read.

Nothing here imports torch, so that pages read the names without it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chromaflow.errors import DataError

if TYPE_CHECKING:
    from chromaflow.evaluation.measure import Predictor


@dataclass(frozen=True)
class Baseline:
    """A way to color that needs no learning.

    Attributes:
        name: In files.
        label: On pages and in tables.
        noun: In a sentence.
        meaning: What it does, as it follows its label in a sentence.
        predictor: Makes it, given `data/lab`; raises DataError where something there is missing.
    """

    name: str
    label: str
    noun: str
    meaning: str
    predictor: Callable[[Path], Predictor]


def mean_color(lab: Path) -> tuple[float, float]:
    """The mean color of the training split, a and b.

    Args:
        lab: `data/lab`.

    Raises:
        DataError: Its statistics are missing or broken.
    """
    path = lab / "statistics.json"
    try:
        a, b = json.loads(path.read_text(encoding="utf-8"))["mean_ab"]
        return float(a), float(b)
    except FileNotFoundError:
        raise DataError(f"{path} is missing.", "chromaflow preprocess") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not give mean_ab, the mean color of the training split: {error}",
            "chromaflow preprocess",
        ) from None


def constant(a: float, b: float) -> Predictor:
    """The predictor that gives every pixel one color; (0, 0) is grey."""
    return lambda lightness: (
        lightness.new_tensor((a, b))
        .reshape(1, 2, 1, 1)
        .expand(len(lightness), 2, *lightness.shape[-2:])
    )


GREY = Baseline("grey", "grey", "grey", "adds no color at all", lambda _: constant(0, 0))
MEAN_COLOR = Baseline(
    "mean_color",
    "mean color",
    "the mean color",
    "gives every pixel the average color of the training images",
    lambda lab: constant(*mean_color(lab)),
)
BASELINES: Mapping[str, Baseline] = {one.name: one for one in (GREY, MEAN_COLOR)}
"""Each by its name, in the order in which they are measured."""
SYSTEMS: Mapping[str, str] = {
    "model": "model",
    **{one.name: one.label for one in reversed(tuple(BASELINES.values()))},
    "truth": "truth",
}
"""Label of whatever `metrics.json` holds numbers of: the model, what it has to beat, the truth."""
