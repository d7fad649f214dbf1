"""The data in a checkout: their digests, and how many images they hold."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from chromaflow.data.snapshot.validation import ValidationReport
from chromaflow.errors import DataError
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
        raw_manifest=_sha256_of(project.raw_manifest),
        validated_manifest=_sha256_of(project.accepted_manifest),
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
    from chromaflow.data.snapshot.manifest import read_validated  # noqa: PLC0415 (half a second)

    try:
        columns = ["id", "source", "url", "license", "split"]
        table = read_validated(project.accepted_manifest, columns)
        return DataCounts(
            **judged,
            sources=_most_common(table["source"], _MOST_SOURCES),
            licenses=_most_common(table["license"], _MOST_LICENSES),
            photographs=_photographs(table),
        )
    except DataError:
        return DataCounts(**judged)


def _judged(project: Project) -> dict[str, dict[str, int]]:
    try:
        found = ValidationReport.read(project.validation_report)
    except DataError:
        return {}
    images = {
        "rows": found.rows,
        "accepted": found.accepted,
        "quarantined": found.quarantined,
    }
    return {"images": images, "reasons": found.reasons, "splits": found.splits}


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

    from chromaflow.data.snapshot.manifest import photographs_of  # noqa: PLC0415

    url, image = (table[name].cast(pa.string()) for name in ("url", "id"))
    place = pc.if_else(pc.equal(pc.fill_null(url, ""), ""), image, url)
    parts = pa.table({"split": table["split"].cast(pa.string()), "name": photographs_of(place)})
    counts = parts.group_by("split").aggregate([("name", "count_distinct")])
    return dict(
        zip(*(counts[name].to_pylist() for name in ("split", "name_count_distinct")), strict=True)
    )
