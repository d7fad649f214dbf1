"""`chromaflow validate`: validate the raw snapshot; show accepted and rejected samples."""

from dataclasses import dataclass
from typing import Any

from chromaflow.data.quality.judge_snapshot import judge_snapshot
from chromaflow.data.snapshot.validation import ValidationReport
from chromaflow.project.paths import Project
from chromaflow.reporting.contact_sheets import write_overview
from chromaflow.settings import Settings


@dataclass(frozen=True)
class ValidateResult:
    """What a validation came to: the numbers that it wrote to `validation.json`."""

    report: ValidationReport

    def to_json(self) -> dict[str, Any]:
        """The result as one object, as `validation.json` holds it."""
        return self.report.to_json()

    def summary(self) -> str:
        """The result in one line for the terminal."""
        report = self.report
        line = f"data/validated: {report.accepted} accepted, {report.quarantined} in quarantine"
        reasons = ", ".join(f"{count} {name}" for name, count in report.reasons.items())
        return f"{line} ({reasons})" if reasons else line


def validate(project: Project, settings: Settings) -> ValidateResult:
    """Judge `data/raw`, and write `data/validated`, the Data Docs and contact sheets.

    Args:
        project: The checkout.
        settings: `quality`, `split` and, of `source`, `max_pixels` and what chooses the images.

    Raises:
        DataError: As of `chromaflow.data.quality.judge_snapshot.judge_snapshot`.
    """
    judged = judge_snapshot(project, settings)
    write_overview(project, settings, judged.accepted, judged.refused)
    return ValidateResult(judged.report)
