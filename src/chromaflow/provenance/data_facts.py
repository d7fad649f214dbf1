"""The data in a checkout: their digests, and how many images they hold."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from chromaflow.project import dvc, files
from chromaflow.project.paths import Project
from chromaflow.provenance.facts import DataCounts, DataFacts

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_SOURCES = 20
_MOST_LICENSES = 12
_LONGEST_NAME = 100


def data_facts(project: Project) -> DataFacts:
    """The data that are in the checkout now."""
    return DataFacts(
        raw_md5=dvc.snapshot_digest(project),
        raw_manifest=_sha256_of(project.raw / "manifest.parquet"),
        validated_manifest=_sha256_of(project.validated / "manifest.parquet"),
        lab=_lab_digest(project),
    )


def _sha256_of(path: Path) -> str:
    """The digest of a file; empty where there is none."""
    return files.sha256_of(path) if path.is_file() else ""


def _lab_digest(project: Project) -> str:
    """A digest of the Lab shards that reads none of them; empty where there are none."""
    # Indices, labels, statistics and histogram; the colors of each shard are as many as shards.
    beside = [*project.lab.rglob("*.json"), *project.lab.glob("*.npy")]
    return files.digest_of(project.lab, beside) if beside else ""


def data_counts(project: Project) -> DataCounts:
    """How many images the data in the checkout hold; what cannot be read is left empty."""
    judged = _judged(project)
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415 (half a second)

        columns = ["id", "source", "url", "license", "split"]
        table = pq.read_table(project.validated / "manifest.parquet", columns=columns)
        return DataCounts(
            **judged,
            sources=_most_common(table["source"], _MOST_SOURCES),
            licenses=_most_common(table["license"], _MOST_LICENSES),
            photographs=_photographs(table),
        )
    except (ImportError, OSError, ValueError, KeyError):
        return DataCounts(**judged)


def _judged(project: Project) -> dict[str, dict[str, int]]:
    try:
        text = (project.validated / "validation.json").read_text(encoding="utf-8")
        found = json.loads(text)
        images = {name: found[name] for name in ("rows", "accepted", "quarantined")}
        return {"images": images, "reasons": found["reasons"], "splits": found["splits"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _most_common(column: "pa.ChunkedArray", most: int) -> dict[str, int]:
    """How often the most common names stand in a column, and the sum of all others."""
    counts: Counter[str] = Counter()
    for row in column.value_counts().to_pylist():
        counts[(row["values"] or "not stated")[:_LONGEST_NAME]] += row["counts"]
    found = dict(counts.most_common(most))
    rest = counts.total() - sum(found.values())
    return found | ({"others": rest} if rest else {})


def _photographs(table: "pa.Table") -> dict[str, int]:
    """How many photographs the images of each split were cut from."""
    import pyarrow as pa  # noqa: PLC0415 (half a second)
    import pyarrow.compute as pc  # noqa: PLC0415

    url, image = (table[name].cast(pa.string()) for name in ("url", "id"))
    place = pc.if_else(pc.equal(pc.fill_null(url, ""), ""), image, url)
    # The part behind # is the place of a tile in its photograph.
    name = pc.replace_substring_regex(place, pattern="(?s)#.*", replacement="")
    parts = pa.table({"split": table["split"].cast(pa.string()), "name": name})
    counts = parts.group_by("split").aggregate([("name", "count_distinct")])
    return dict(
        zip(*(counts[name].to_pylist() for name in ("split", "name_count_distinct")), strict=True)
    )
