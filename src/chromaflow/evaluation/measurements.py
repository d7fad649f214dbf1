"""The table `per_image.csv`: every metric of every held-out image, for every system measured."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chromaflow.errors import ModelError
from chromaflow.evaluation.measure import DECIMALS, Measurements


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
                row = [f"{number:.{DECIMALS}f}" for number in (*numbers, result.masses[index])]
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
