"""What was measured of each held-out image, and the table `per_image.csv` that keeps it."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chromaflow.errors import ModelError
from chromaflow.metrics.catalog import METRICS

DECIMALS = 6
"""Of every value of an image, measured or read from the table, so that both compare exactly."""


@dataclass(frozen=True)
class Measurements:
    """What was measured of each image of a split.

    Attributes:
        ids: The images, in stored order, n of them.
        values: Metric to one value an image, float64 (n,), rounded to `DECIMALS`.
        weights: What each image counts where its pixels are weighted: their mean weight, (n,), 1
            on average, rounded likewise. It depends on the true colors of the split alone, not
            on the system.
    """

    ids: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]
    weights: NDArray[np.float64]

    def weights_of(self, metric: str) -> NDArray[np.float64]:
        """What each image counts in the mean of a metric, (n,)."""
        by_pixels = METRICS[metric].weighting == "pixels"
        return self.weights if by_pixels else np.ones(len(self.ids))

    def mean(self, metric: str) -> float:
        """A metric of the whole split.

        The mean over images; for a metric that weighs pixels, such as `auc_rebalanced`,
        Σ m·a / Σ m over the images' values a and weights m, its value over all pixels.
        """
        return float(np.average(self.values[metric], weights=self.weights_of(metric)))


def write_table(path: Path, measured: Mapping[str, Measurements]) -> None:
    """Write measurements, so that `read_table` gives the same ones again.

    Args:
        path: The table; replaced where it exists.
        measured: System to measurements, all of the same metrics.
    """
    metrics = sorted(next(iter(measured.values())).values)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "system", *metrics, "weight"])
        for system, result in measured.items():
            for index, id_ in enumerate(result.ids):
                numbers = [result.values[metric][index] for metric in metrics]
                row = [f"{number:.{DECIMALS}f}" for number in (*numbers, result.weights[index])]
                table.writerow([id_, system, *row])


def read_table(path: Path) -> dict[str, Measurements]:
    """Read what `write_table` has written.

    Args:
        path: The table.

    Returns:
        System to measurements, in the order of the table.

    Raises:
        ModelError: It cannot be read, or is not such a table.
    """
    rows: dict[str, list[Mapping[str, str]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows.setdefault(row["system"], []).append(row)
        return {
            system: Measurements(
                tuple(row["id"] for row in own),
                {
                    name: np.array([float(row[name]) for row in own])
                    for name in own[0]
                    if name not in ("id", "system", "weight")
                },
                np.array([float(row["weight"]) for row in own]),
            )
            for system, own in rows.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is not the table that evaluation writes: {error}", "dvc repro evaluate"
        ) from None
