"""`chromaflow validate`: judge the raw snapshot, and show some of what was accepted and refused."""

from typing import Any

from chromaflow.data.quality.judge_snapshot import judge_snapshot
from chromaflow.project.paths import Project
from chromaflow.reporting.contact_sheets import write_overview
from chromaflow.settings import Settings


def validate(project: Project, settings: Settings) -> dict[str, Any]:
    """Judge `data/raw`, and write `data/validated`, the Data Docs and contact sheets.

    Args:
        project: The checkout.
        settings: `quality`, `split` and, of `source`, `max_pixels` and what chooses the images.

    Returns:
        What `validation.json` holds; see `chromaflow.data.quality.judge_snapshot.judge_snapshot`.

    Raises:
        DataError: As of `judge_snapshot`.
    """
    judged = judge_snapshot(project, settings)
    write_overview(project, settings, judged.accepted, judged.refused)
    return judged.report.to_json()
