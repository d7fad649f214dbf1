"""The step `chromaflow report`: one page and one table about the candidate."""

from dataclasses import dataclass
from pathlib import Path

from chromaflow.project.paths import Project
from chromaflow.reporting.run_page import summarize, write_report
from chromaflow.settings import Settings


@dataclass(frozen=True)
class ReportResult:
    """What the step wrote.

    Args:
        page: `reports/index.html`.
        text: The tables of the page, for a terminal.
    """

    page: Path
    text: str

    def to_json(self) -> dict[str, str]:
        """Where the page is."""
        return {"page": str(self.page)}

    def summary(self) -> str:
        """The tables."""
        return self.text


def report(project: Project, settings: Settings) -> ReportResult:
    """Write the page about the candidate, its data, its measurements and its origin.

    Args:
        project: The checkout.
        settings: Its `tracking` and `promotion`.

    Raises:
        ModelError: There is no candidate, or no evaluation of it.
    """
    return ReportResult(write_report(project, settings), summarize(project, settings))
