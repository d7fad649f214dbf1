"""How far the colors of the accepted images moved from those of the last accepted snapshot.

The last snapshot's distribution stands in `quality.json`, tracked by git: what was accepted before
is history, which no input of the validation tells, and a file in git gives every clone and every
worker the same history. For DVC it is an output that is neither cached nor removed before the step
runs. It is written last, from the accepted images alone, so equal inputs give equal bytes there
too. History only decides whether the step stops; it never enters what the step writes.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chromaflow import files
from chromaflow.errors import DataError
from chromaflow.project import Project
from chromaflow.quality.table import column

# Lower edges of the bins of mean chroma, CIE Lab units; the last bin is open.
EDGES = (0, 5, 10, 15, 20, 25, 30, 35, 40, 50)
# The 99.9% quantile of χ² with 9 degrees of freedom, one less than there are bins.
_CHANCE = 27.877


class Record(BaseModel):
    """The distribution of the last accepted snapshot: images in each bin, and their sources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: list[str]
    edges: list[float]
    mean_chroma: list[int] = Field(min_length=len(EDGES), max_length=len(EDGES))


def describe(accepted: pa.Table) -> Record:
    """The distribution of mean chroma over the accepted images, a manifest."""
    chroma = column(accepted, "mean_chroma").to_numpy(zero_copy_only=False)
    counts, _ = np.histogram(chroma, bins=[*EDGES, np.inf])
    sources = pc.unique(column(accepted, "source").cast(pa.string())).to_pylist()
    return Record(sources=sorted(sources), edges=list(EDGES), mean_chroma=counts.tolist())


def read(project: Project) -> Record | None:
    """The record of the last accepted snapshot; None where there is none, or of other bins.

    Raises:
        DataError: The file is broken.
    """
    path = project.quality_record
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        record = Record.model_validate(values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(
            f"{path} is no record of a snapshot: {str(error).splitlines()[0]}",
            f"git checkout {path.name}, or rm {path} to start anew",
        ) from None
    return record if record.edges == list(EDGES) else None


def write(project: Project, record: Record) -> None:
    """Keep the distribution of a snapshot that was accepted."""
    files.write_json(project.quality_record, record.model_dump())


def compare(old: Record, new: Record) -> pd.DataFrame:
    """The population stability index of two distributions, bin by bin.

    PSI = Σ (q − p) ln(q / p), the symmetric Kullback–Leibler divergence of the shares p and q.
    Siddiqi 2006, "Credit Risk Scorecards": below 0.1 no change to speak of, above 0.25 a major one.
    Half an image is added to each bin, so that an empty one gives no infinity.

    Returns:
        One row a bin: `low` (its lower edge), `old` and `new` (shares), `psi` (its part).
    """
    before, after = (np.array(record.mean_chroma) + 0.5 for record in (old, new))
    p, q = before / before.sum(), after / after.sum()
    return pd.DataFrame(
        {"low": np.array(EDGES, float), "old": p, "new": q, "psi": (q - p) * np.log(q / p)}
    )


def limit(threshold: float, old: Record, new: Record) -> float:
    """The index above which a snapshot has drifted.

    The threshold, or what chance alone would hardly ever exceed: between samples of n and m images
    of one distribution the index follows (1/n + 1/m)·χ² with one degree of freedom less than there
    are bins (Yurdakul and Naranjo 2020, "Statistical properties of the population stability
    index"); its 99.9% quantile counts.
    """
    n, m = (max(sum(record.mean_chroma), 1) for record in (old, new))
    return max(threshold, (1 / n + 1 / m) * _CHANCE)
