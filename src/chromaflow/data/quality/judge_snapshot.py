"""Validate the raw manifest, quarantine what is rejected, and split the rest."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chromaflow.data.quality import drift, expectations, waivers
from chromaflow.data.quality.duplicates import codes_of
from chromaflow.data.quality.facts import (
    Rows,
    age_order,
    column,
    copies_of,
    read_manifest,
    row_facts,
    texts,
)
from chromaflow.data.quality.grouping import Grouped, group, separation
from chromaflow.data.quality.judge import Judge, Outcome
from chromaflow.data.quality.quarantine import Quarantine
from chromaflow.data.quality.splits import UNUSED, check_splits, names_of, place_rows
from chromaflow.data.snapshot.manifest import HISTORIC, KINDS
from chromaflow.data.snapshot.validation import ChromaHistogram, ValidationReport, WaiverCounts
from chromaflow.errors import DataError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.project.splits import SPLITS
from chromaflow.settings import Settings

_PLACES = (*SPLITS, UNUSED, HISTORIC)


@dataclass(frozen=True)
class _Judged:
    """The manifest, what its rules refused, and how many waivers hold and do not.

    `contents` are numbers for the bytes of each row, (N,), equal where the bytes are.
    """

    table: pa.Table
    contents: Rows
    quarantine: Quarantine
    outcomes: list[Outcome]
    waivers: WaiverCounts


def _rules(table: pa.Table, settings: Settings) -> dict[str, list[expectations.Rule]]:
    licenses, labels = (
        [text or "" for text in texts(table, name).dictionary.to_pylist()]
        for name in ("license", "label")
    )
    return expectations.row_rules(settings.quality, licenses, labels)


def _waived(
    project: Project, table: pa.Table, rules: list[expectations.Rule]
) -> tuple[dict[str, Rows], WaiverCounts]:
    """The rows for which people waived each rule; and how many waivers hold and do not."""
    decided = {waiver.id: waiver for waiver in waivers.read(project)}
    found = pc.is_in(table["id"], pa.array(list(decided), pa.string()))
    rows = np.flatnonzero(found.to_numpy())
    taken = table.select(["id", "sha256"]).take(pa.array(rows)).to_pylist()
    waived: dict[str, list[int]] = {
        rule.name: [] for rule in rules if rule.name not in waivers.FINAL
    }
    held = 0
    for row, facts in zip(rows.tolist(), taken, strict=True):
        waiver = decided[facts["id"]]
        if waiver.sha256 == facts["sha256"]:
            held += 1
            for name in waived.keys() & set(waiver.rules):
                waived[name].append(row)
    counts = WaiverCounts(held=held, void=len(decided) - held)
    return {name: np.array(chosen, np.int64) for name, chosen in waived.items()}, counts


def _judge_rows(judge: Judge, project: Project, settings: Settings) -> _Judged:
    table = read_manifest(project)
    contents = codes_of(column(table, "sha256"))
    copies = copies_of(table, contents, age_order(table))
    facts = row_facts(table, copies, settings.quality)
    ids = column(table, "id")
    outcomes = judge.judge("manifest", facts, expectations.manifest_rules(), ids)
    rules = []
    for name, asked in _rules(table, settings).items():
        outcomes += judge.judge(name, facts, [(r.name, r.expectation) for r in asked], ids)
        rules += asked
    failed = {outcome.result.name: outcome.rows for outcome in outcomes}
    waived, counts = _waived(project, table, rules)
    quarantine = Quarantine(table)
    for rule in rules:
        rows = np.setdiff1d(failed[rule.name], waived.get(rule.name, []), assume_unique=True)
        quarantine.refuse_failed(rule, rows.astype(np.int64), facts)
    return _Judged(table, contents, quarantine, outcomes, counts)


def _place(judged: _Judged, grouped: Grouped, settings: Settings) -> Rows:
    """The number of the split of each grouped row, or of `historic` or nothing, (N,)."""
    young = grouped.only(~grouped.historic)
    labels = codes_of(texts(judged.table, "label"))[young.rows]
    hints = young.hints if settings.split.hints else None
    places = np.full(len(grouped.rows), _PLACES.index(HISTORIC))
    places[~grouped.historic] = place_rows(young.names, settings.split, labels, hints)
    return places


def _judge_labels(judge: Judge, accepted: pa.Table, settings: Settings) -> list[Outcome]:
    labels = texts(accepted, "label")
    counts = np.bincount(codes_of(labels), minlength=len(labels.dictionary))
    present = np.flatnonzero(counts)
    if not len(present):
        return []
    frame = pd.DataFrame({"images": counts[present], "share": counts[present] / len(labels)})
    names = labels.dictionary.take(pa.array(present))
    return judge.judge("labels", frame, expectations.label_rules(settings.quality), names)


def _judge_drift(
    judge: Judge, project: Project, new: drift.Record, settings: Settings
) -> tuple[list[Outcome], str]:
    """The outcome, and the numbers in words; nothing where nothing is to compare."""
    old, threshold = drift.read(project), settings.quality.max_drift
    if old is None or not threshold or not drift.comparable(old, new):
        return [], ""
    bins, limit = drift.compare(old, new), drift.limit(threshold, old, new)
    text = f"index {bins['psi'].sum():.3f}, limit {limit:.3f}; {drift.explain(bins)}"
    return judge.judge("drift", bins, expectations.drift_rules(limit)), text


def _check_tables(
    outcomes: list[Outcome],
    project: Project,
    settings: Settings,
    counts: dict[str, int],
    moved: str,
) -> None:
    """Stop at a table that is not acceptable as a whole.

    Args:
        outcomes: Of all tables.
        project: The checkout.
        settings: `quality` is used.
        counts: How many rows each rule refused.
        moved: How far the colors drifted, in words.

    Raises:
        DataError: It names the rule and the Data Docs that show it.
    """
    quality = settings.quality
    tables = {name for name, _ in expectations.table_rules(quality)}
    results = [outcome.result for outcome in outcomes]
    failed = [result for result in results if not result.success and result.name in tables]
    if not failed:
        return
    name = failed[0].name
    problem = f"{project.raw_manifest} fails {name} {failed[0].column}"
    remedy = f"rm {project.raw_manifest}, then chromaflow ingest"
    if name == "min_images":
        causes = ", ".join(f"{n} {rule}" for rule, n in Counter(counts).most_common())
        problem = (
            f"fewer images were accepted than quality.min_images = {quality.min_images} "
            f"(refused: {causes or 'none'})"
        )
        remedy = "more images, or other thresholds: chromaflow settings shows quality"
    elif name == "max_drift":
        problem = (
            "the mean chroma of the accepted images drifted from the last accepted snapshot, "
            f"{project.quality_record}, by more than quality.max_drift = {quality.max_drift:g} "
            f"allows: {moved}"
        )
        remedy = "if intended: chromaflow validate --set quality.max_drift=0 accepts it, once"
    elif name in ("min_label_images", "max_label_share"):
        problem = (
            f"the labels of the accepted images fail quality.{name} = {getattr(quality, name):g}"
        )
        remedy = "other images, or another value: chromaflow settings shows quality"
    raise DataError(f"{problem}; see {project.data_docs / 'index.html'}", remedy)


def _by_label(accepted: pa.Table) -> dict[str, dict[str, int]]:
    """Images a label and split; the shares of a split's labels show how even it is."""
    counts = accepted.group_by(["label", "split"]).aggregate([([], "count_all")]).to_pylist()
    found: dict[str, dict[str, int]] = {}
    for row in counts:
        found.setdefault(row["label"] or "", {})[row["split"]] = row["count_all"]
    return found


def _write(project: Project, tables: dict[str, pa.Table], report: ValidationReport) -> None:
    with files.atomic_folder(project.validated) as folder:
        for name, table in tables.items():
            path = folder / KINDS[name].file
            # Without Arrow's own schema, repeated texts are plain texts for whoever reads them.
            pq.write_table(table, path, compression="zstd", store_schema=False)
        files.write_json(folder / project.validation_report.name, report.to_json())


def _tables(judged: _Judged, grouped: Grouped, places: Rows) -> dict[str, pa.Table]:
    """What is written, by the names of `KINDS`; each table sorted by id."""
    length = len(judged.table)
    all_places = np.full(length, -1)
    all_places[grouped.rows] = places
    table = judged.table.append_column("group", grouped.column(length))

    def chosen(*names: str) -> pa.Table:
        return table.filter(pa.array(np.isin(all_places, [_PLACES.index(n) for n in names])))

    splits = pa.DictionaryArray.from_arrays(
        pa.array(all_places[(all_places >= 0) & (all_places < len(SPLITS))], pa.int8()), SPLITS
    )
    return {
        "images": chosen(*SPLITS).append_column("split", splits),
        "historic": chosen(HISTORIC),
        "unused": chosen(UNUSED),
        "quarantine": judged.quarantine.rejected(),
    }


@dataclass(frozen=True)
class Judgement:
    """What came of judging a snapshot.

    Args:
        report: The numbers.
        accepted: The validated manifest, sorted by id.
        refused: The quarantine, sorted by id.
    """

    report: ValidationReport
    accepted: pa.Table
    refused: pa.Table


def judge_snapshot(project: Project, settings: Settings) -> Judgement:
    """Judge `data/raw/manifest.parquet` and write `data/validated` and the Data Docs.

    Great Expectations judges rows and tables. A row that fails goes to `quarantine.parquet` with
    every reason, unless `releases.yaml` waives those rules for it; so does one that would stand
    in two splits. Historic photographs, which need no color, go to `historic.parquet`, what exceeds
    exact counts to `unused.parquet`, the rest to `manifest.parquet` with its `group` and its
    `split`. Equal inputs give equal bytes in `data/validated` and `reports/validation`.

    Args:
        project: The checkout.
        settings: `quality`, `split` and, of `source`, `max_pixels` and what chooses the images.

    Returns:
        The report and the two tables that people look at.

    Raises:
        DataError: There is no manifest, a table as a whole is not acceptable, or a split that the
            settings ask for is not as they ask. The Data Docs are written, `data/validated` is left
            as it was.
    """
    judge = Judge()
    judged = _judge_rows(judge, project, settings)
    grouped = group(judged.table, judged.quarantine, settings)
    places = _place(judged, grouped, settings)
    used = places != _PLACES.index(UNUSED)
    frame = separation(judged.contents, grouped.only(used), places[used])
    outcomes = judged.outcomes
    tables = _tables(judged, grouped, places)
    accepted = tables["images"]
    # First, because it says most where nothing was accepted.
    size = pd.DataFrame({"images": [len(accepted)]})
    outcomes += judge.judge("size", size, expectations.size_rules(settings.quality))
    outcomes += judge.judge("accepted", frame, expectations.snapshot_rules())
    outcomes += _judge_labels(judge, accepted, settings)
    record = drift.describe(accepted, settings)
    drifted, moved = _judge_drift(judge, project, record, settings)
    outcomes += drifted
    judge.write_docs(project.data_docs)
    _check_tables(outcomes, project, settings, judged.quarantine.counts, moved)
    in_splits = places[places < len(SPLITS)]
    report = ValidationReport(
        success=True,
        rows=len(judged.table),
        accepted=len(accepted),
        quarantined=len(tables["quarantine"]),
        historic=len(tables["historic"]),
        unused=len(tables["unused"]),
        reasons=judged.quarantine.counts,
        splits=check_splits(names_of(in_splits), settings.split),
        labels=_by_label(accepted),
        mean_chroma=ChromaHistogram(edges=record.edges, mean_chroma=record.mean_chroma),
        waivers=judged.waivers,
        expectations=[o.result for o in outcomes if o.result.name != "max_drift"],
    )
    _write(project, tables, report)
    drift.write(project, record)
    return Judgement(report, accepted, tables["quarantine"])
