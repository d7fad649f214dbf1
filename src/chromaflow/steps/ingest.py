"""`chromaflow ingest`: bring the raw snapshot up to date with its source, and record it."""

from dataclasses import asdict, dataclass
from typing import Any

from chromaflow.data.ingest.build import SnapshotCounts, build_snapshot
from chromaflow.project import dvc
from chromaflow.project.paths import Project
from chromaflow.settings import Settings


@dataclass(frozen=True)
class IngestResult:
    """What an ingest came to.

    Args:
        counts: Of the snapshot.
        fetched: Whether the recorded snapshot was fetched from a DVC remote first.
        recorded: Whether `data.dvc` changed.
        snapshot: The MD5 by which DVC knows `data/raw`.
    """

    counts: SnapshotCounts
    fetched: bool
    recorded: bool
    snapshot: str

    def to_json(self) -> dict[str, Any]:
        """The result as one object."""
        return {
            **asdict(self.counts),
            "fetched": self.fetched,
            "recorded": self.recorded,
            "snapshot": self.snapshot,
        }

    def summary(self) -> str:
        """The result in a few lines for the terminal."""
        counts, state = self.counts, "changed" if self.recorded else "unchanged"
        lines = [f"data/raw: {counts.images} images, {state}, {self.snapshot}"]
        if counts.undecodable:
            lines.append(
                f"{counts.undecodable} of them cannot be read; chromaflow validate reports why"
            )
        if counts.removed:
            lines.append(f"{counts.removed} of the last snapshot are no longer there")
        return "\n".join(lines)


def ingest(project: Project, settings: Settings) -> IngestResult:
    """Make `data/raw` what the source is now, and record it in `data.dvc`.

    A clone that has the record but no data gets them from a DVC remote first, where there is one,
    so that only what is new is fetched from the source.

    Args:
        project: The checkout.
        settings: `source` and `download` are used.

    Raises:
        DataError: The source cannot be used, or the disk is full.
        ServerError: Its server does not answer, or another ingest is running.
        UserError: DVC could not take the snapshot into its cache.
    """
    fetched = dvc.fetch_snapshot(project)
    counts = build_snapshot(project, settings)
    recorded = dvc.record_snapshot(project)
    return IngestResult(counts, fetched, recorded, dvc.snapshot_digest(project))
