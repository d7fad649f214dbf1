"""Judge the raw manifest, set aside what may not train, and split the rest."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chromaflow import files
from chromaflow.errors import DataError
from chromaflow.project import Project
from chromaflow.quality import expectations
from chromaflow.quality.data_docs import write_data_docs
from chromaflow.quality.duplicates import first_copies, group_images
from chromaflow.quality.expectations import Judge, Outcome
from chromaflow.quality.quarantine import Quarantine
from chromaflow.quality.splits import assign_splits, check_splits
from chromaflow.settings import Settings

_NAME = "manifest.parquet"


def _read(project: Project) -> pa.Table:
    """The raw manifest from the oldest row to the youngest: new images make new shards."""
    path = project.raw / _NAME
    try:
        table = pq.read_table(path, columns=list(expectations.COLUMNS))
    except FileNotFoundError:
        raise DataError(f"there is no {path}.", "chromaflow ingest") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is no manifest of chromaflow: {error}", f"rm {path}, then chromaflow ingest"
        ) from None
    if missing := set(expectations.COLUMNS) - set(table.column_names):
        raise DataError(
            f"{path} lacks the columns {', '.join(sorted(missing))}.",
            f"rm {path}, then chromaflow ingest",
        )
    return table.sort_by([("shard", "ascending"), ("id", "ascending")]).combine_chunks()


def _copies(table: pd.DataFrame) -> list[str | None]:
    """For each row the older image with the same bytes, where both decode."""
    ids = table["id"].tolist()
    contents = [
        digest if decodes else image
        for digest, decodes, image in zip(table["sha256"], table["decodes"], ids, strict=True)
    ]
    return [
        None if row == first else ids[first] for row, first in enumerate(first_copies(contents))
    ]


def _group(table: pa.Table, quarantine: Quarantine, distance: int) -> pa.Table:
    """The rows that nothing refused, with their groups; a row near two groups is refused."""
    ids = table["id"].to_pylist()
    table = table.filter(pa.array([image not in quarantine.reasons for image in ids], pa.bool_()))
    ids = table["id"].to_pylist()
    photographs = [url.partition("#")[0] for url in table["url"].to_pylist()]
    grouping = group_images(photographs, table["phash"].to_pylist(), distance)
    for row, (first, second) in grouping.conflicts.items():
        reason = f"near {ids[first]} and {ids[second]}, which belong to different groups"
        quarantine.refuse(ids[row], "near_two_groups", reason)
    table = table.append_column("group", pa.array(grouping.names, pa.string()))
    return table.filter(pc.is_valid(table["group"]))


def _judge_manifest(
    judge: Judge, table: pa.Table, settings: Settings
) -> tuple[Quarantine, list[Outcome]]:
    frame = table.to_pandas()
    frame = expectations.add_derived(frame, _copies(frame))
    rules = expectations.row_rules(settings.quality)
    asked = expectations.manifest_rules() + [(rule.name, rule.expectation) for rule in rules]
    outcomes = judge.judge("manifest", frame, asked)
    quarantine = Quarantine()
    quarantine.refuse_failed(frame, rules, {outcome.name: outcome for outcome in outcomes})
    return quarantine, outcomes


def _judge_accepted(judge: Judge, table: pa.Table, settings: Settings) -> list[Outcome]:
    frame = table.select(["id", "sha256", "group", "split"]).to_pandas()
    frame["splits"] = frame.groupby("group")["split"].transform("nunique")
    return judge.judge("accepted", frame, expectations.training_rules(settings.quality))


def _check_tables(
    outcomes: list[Outcome], project: Project, settings: Settings, quarantine: Quarantine
) -> None:
    """Stop at a table that is not acceptable as a whole.

    Raises:
        DataError: It names the rule and the Data Docs that show it.
    """
    quality = settings.quality
    asked = expectations.manifest_rules() + expectations.training_rules(quality)
    failed = [o for o in outcomes if not o.success and o.name in {name for name, _ in asked}]
    if not failed:
        return
    docs = f"see {project.data_docs / 'index.html'}"
    if failed[0].name == "min_images":
        causes = ", ".join(f"{count} {name}" for name, count in quarantine.counts.most_common())
        raise DataError(
            f"fewer images were accepted than quality.min_images = {quality.min_images} "
            f"(refused: {causes or 'none'}); {docs}",
            "more images, or other thresholds: chromaflow settings shows quality",
        )
    manifest = project.raw / _NAME
    raise DataError(
        f"{manifest} fails {failed[0].name} {failed[0].column}; {docs}",
        f"rm {manifest}, then chromaflow ingest",
    )


def _refused(table: pa.Table, quarantine: Quarantine) -> pa.Table:
    reasons = [quarantine.reasons.get(image) for image in table["id"].to_pylist()]
    table = table.append_column("reasons", pa.array(reasons, pa.list_(pa.string())))
    return table.filter(pc.is_valid(table["reasons"]))


def _write(folder: Path, accepted: pa.Table, refused: pa.Table, report: dict[str, Any]) -> None:
    with files.atomic_folder(folder) as temporary:
        for name, table in ((_NAME, accepted), ("quarantine.parquet", refused)):
            rows = table.sort_by("id").combine_chunks()
            pq.write_table(rows, temporary / name, compression="zstd")
        files.write_json(temporary / "validation.json", report)


def validate(project: Project, settings: Settings) -> dict[str, Any]:
    """Judge `data/raw/manifest.parquet` and write `data/validated` and the Data Docs.

    Great Expectations judges rows and table. A row that fails goes to `quarantine.parquet` with
    every reason; so does one that is near two groups of near-duplicates. The rest goes to
    `manifest.parquet` with its `group` and its `split`. Equal inputs give equal bytes in
    `data/validated`.

    Args:
        project: The checkout.
        settings: `quality` and `split` are used.

    Returns:
        What `validation.json` holds: `success`, `rows`, `accepted`, `quarantined`, `reasons` (how
        often each rule refused a row), `splits` (images a split), `expectations`.

    Raises:
        DataError: There is no manifest, the table as a whole is not acceptable, or a split that the
            settings ask for stays empty. The Data Docs are written, `data/validated` is left as it
            was.
    """
    table = _read(project)
    judge = Judge()
    quarantine, judged = _judge_manifest(judge, table, settings)
    accepted = _group(table, quarantine, settings.quality.duplicate_distance)
    splits = assign_splits(accepted["group"].to_pylist(), settings.split)
    accepted = accepted.append_column("split", pa.array(splits, pa.string()))
    outcomes = judged + _judge_accepted(judge, accepted, settings)
    write_data_docs(project.data_docs, judge.write_docs)
    _check_tables(outcomes, project, settings, quarantine)
    counts = check_splits(splits, settings.split)
    refused = _refused(table, quarantine)
    report = {
        "success": True,
        "rows": len(table),
        "accepted": len(accepted),
        "quarantined": len(refused),
        "reasons": dict(quarantine.counts),
        "splits": counts,
        "expectations": [outcome.as_json() for outcome in outcomes],
    }
    _write(project.validated, accepted, refused, report)
    return report
