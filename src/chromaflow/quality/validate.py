"""Judge the raw manifest, set aside what may not train, and split the rest."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chromaflow import files
from chromaflow.errors import DataError
from chromaflow.project import SPLITS, Project
from chromaflow.quality import drift, expectations, grouping, releases
from chromaflow.quality import table as manifest
from chromaflow.quality.data_docs import write_data_docs
from chromaflow.quality.duplicates import codes_of
from chromaflow.quality.judge import Judge, Outcome
from chromaflow.quality.overview import write_overview
from chromaflow.quality.quarantine import Quarantine
from chromaflow.quality.splits import UNUSED, assign_splits, check_splits
from chromaflow.quality.table import NAME, Rows
from chromaflow.settings import Settings


@dataclass
class _Judged:
    """The manifest with what was found out about it.

    `groups` and `places` hold the group and the split, `historic` or nothing of each row, (N,).
    """

    table: pa.Table
    quarantine: Quarantine
    outcomes: list[Outcome]
    waived: dict[str, int]
    groups: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    places: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))

    def rows(self, place: str) -> pa.Table:
        """The rows of one place, with their group."""
        chosen = pa.array(manifest.equals(pa.table({"place": self.places}), "place", place))
        return self.table.append_column("group", self.groups).filter(chosen)


def _rules(table: pa.Table, settings: Settings) -> list[expectations.Rule]:
    licenses, labels = (
        [text or "" for text in manifest.texts(table, name).dictionary.to_pylist()]
        for name in ("license", "label")
    )
    return expectations.row_rules(settings.quality, licenses, labels)


def _waive(
    project: Project, table: pa.Table, rules: list[expectations.Rule]
) -> tuple[dict[str, Rows], dict[str, int]]:
    """The rows that people released from each rule; and how many releases hold and do not."""
    decisions = releases.read(project)
    digests = {release.id: release for release in decisions}
    ids = manifest.column(table, "id")
    rows = np.flatnonzero(
        pa.compute.is_in(ids, pa.array(list(digests), pa.string())).to_numpy(zero_copy_only=False)
    )
    taken = table.select(["id", "sha256"]).take(pa.array(rows)).to_pylist()
    waived: dict[str, list[int]] = {rule.name: [] for rule in rules if rule.releasable}
    held = 0
    for row, facts in zip(rows.tolist(), taken, strict=True):
        release = digests[facts["id"]]
        if release.sha256 == facts["sha256"]:
            held += 1
            for name in waived.keys() & set(release.rules):
                waived[name].append(row)
    counts = {"held": held, "void": len(decisions) - held}
    return {name: np.array(found, np.int64) for name, found in waived.items()}, counts


def _judge_rows(judge: Judge, project: Project, settings: Settings) -> _Judged:
    table = manifest.read(project)
    order = manifest.age_order(table)
    facts = manifest.facts(table, manifest.copies(table, order), settings.quality)
    rules = _rules(table, settings)
    asked = [*expectations.manifest_rules(), *((r.name, r.expectation) for r in rules)]
    outcomes = judge.judge("manifest", facts, asked, manifest.column(table, "id"))
    found = {outcome.name: outcome for outcome in outcomes}
    waived, counts = _waive(project, table, rules)
    quarantine = Quarantine(table)
    for rule in rules:
        rows = np.setdiff1d(found[rule.name].rows, waived.get(rule.name, []))
        quarantine.refuse_failed(rule, rows, facts)
    return _Judged(table, quarantine, outcomes, counts)


def _split(judged: _Judged, settings: Settings) -> None:
    """Give the rows that nothing refused their groups and their places."""
    table, quarantine = judged.table, judged.quarantine
    grouped = grouping.group(table, quarantine, settings)
    names = assign_splits(
        grouped.names,
        settings.split,
        codes_of(manifest.texts(table, "label"))[grouped.rows],
        grouped.hints if settings.split.hints else None,
    )
    places = np.full(len(table), UNUSED, object)
    places[quarantine.refused] = "refused"
    places[grouped.rows] = names
    places[grouped.historic] = manifest.HISTORIC
    judged.places = pa.array(places, pa.string()).dictionary_encode()
    judged.groups = grouped.column(len(table))


def _judge_tables(
    judge: Judge, judged: _Judged, project: Project, settings: Settings
) -> drift.Record:
    """Judge what was accepted as tables; gives the distribution of its chroma."""
    quality = settings.quality
    frame = grouping.separation(judged.table, judged.groups, judged.places, settings)
    accepted = judged.table.filter(pa.array(manifest_in_splits(judged.places)))
    labels = pd.Series(manifest.texts(accepted, "label").cast(pa.string()).to_pandas())
    counts = labels.value_counts(sort=False).sort_index().rename("images")
    by_label = pd.DataFrame({"images": counts, "share": counts / max(len(labels), 1)})
    judged.outcomes += judge.judge("accepted", frame, expectations.snapshot_rules(quality))
    if len(by_label):
        rows = by_label.reset_index(drop=True)
        names = pa.array(by_label.index.to_list(), pa.string())
        judged.outcomes += judge.judge("labels", rows, expectations.label_rules(quality), names)
    sources = manifest.texts(accepted, "source").cast(pa.string()).unique().to_pylist()
    chroma = manifest.column(accepted, "mean_chroma").to_numpy(zero_copy_only=False)
    new, old = drift.describe(sources, chroma), drift.read(project)
    if old is not None and quality.max_drift and old.sources == new.sources and len(accepted):
        most = drift.limit(quality.max_drift, old, new)
        bins = drift.compare(old, new)
        judged.outcomes += judge.judge("drift", bins, expectations.drift_rules(most))
    return new
