"""How far the colors of the accepted images moved from those of the last accepted snapshot.

The last snapshot's distribution stands in `reports/validation/quality.json`, tracked by git: what
was accepted before is history, which is in no input of the validation, and a file in git gives
every clone and every worker the same history. For DVC it is an output that is neither cached nor
removed before the step runs. It is written last, from the accepted images and the settings alone,
so equal inputs give equal bytes there too. History only decides whether the step stops; it never
enters what the step writes.

Only snapshots of one data set are compared: of the same sources, chosen and validated by the same
settings. With another preset, or another threshold, the colors differ because somebody wants so.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chromaflow.data.quality.facts import column
from chromaflow.errors import DataError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings

# Lower edges of the bins of mean chroma, CIE Lab units; the last bin is open.
EDGES = (0, 5, 10, 15, 20, 25, 30, 35, 40, 50)
# The 99.9% quantile of χ² with 9 degrees of freedom, one less than there are bins.
_CHANCE = 27.877
# Settings that say which images are wanted, whatever their number and wherever they are fetched; a
# source has some of them. The stage `validate` depends on all of `source`, as DVC refuses to depend
# on a setting that is not there.
_CHOOSES = ("folder", "table", "repository", "subset", "categories")
# Those of `quality` that refuse no image.
_OF_TABLES = {"min_images", "min_label_images", "max_label_share", "max_drift"}


class Record(BaseModel):
    """The distribution of the last accepted snapshot: images in each bin, and what they are of.

    `settings` are those that choose and validate the images of `sources`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: list[str]
    settings: dict[str, Any]
    edges: list[float]
    mean_chroma: list[int] = Field(min_length=len(EDGES), max_length=len(EDGES))


def describe(accepted: pa.Table, settings: Settings) -> Record:
    """The distribution of mean chroma over the accepted images, a manifest."""
    chroma = column(accepted, "mean_chroma").to_numpy(zero_copy_only=False)
    counts, _ = np.histogram(chroma, bins=[*EDGES, np.inf])
    sources = pc.unique(column(accepted, "source").cast(pa.string())).to_pylist()
    source = settings.source.model_dump(include=set(_CHOOSES))
    chosen = {f"source.{name}": value for name, value in source.items()}
    judged = settings.quality.model_dump(exclude=_OF_TABLES)
    return Record(
        sources=sorted(sources),
        settings=chosen | {f"quality.{name}": value for name, value in judged.items()},
        edges=list(EDGES),
        mean_chroma=counts.tolist(),
    )


def read(project: Project) -> Record | None:
    """The record of the last accepted snapshot; None where there is none.

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
            f"{path} is not a record of a snapshot: {str(error).splitlines()[0]}",
            f"git checkout {path}, or rm {path} to start over",
        ) from None
    return record


def write(project: Project, record: Record) -> None:
    """Keep the distribution of a snapshot that was accepted."""
    files.write_json(project.quality_record, record.model_dump())


def comparable(old: Record, new: Record) -> bool:
    """Whether both describe snapshots of one data set, by the same bins."""
    alike = (old.sources, old.edges) == (new.sources, new.edges)
    return alike and _given(old) == _given(new)


def _given(record: Record) -> dict[str, Any]:
    """The settings that are not empty: older records also name those of other sources, empty."""
    return {name: value for name, value in record.settings.items() if value not in ("", [])}


def explain(bins: pd.DataFrame) -> str:
    """The bins that moved most, in words; `bins` as of `compare`."""
    parts = []
    for low, old, new in bins.nlargest(3, "psi")[["low", "old", "new"]].itertuples(index=False):
        high = min((edge for edge in EDGES if edge > low), default=None)
        name = f"{low:g} to {high}" if high else f"above {low:g}"
        parts.append(f"{name}: {old:.1%} → {new:.1%}")
    return "; ".join(parts)


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
