"""The results of steps as Prefect artifacts."""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from chromaflow.data.snapshot.validation import ValidationReport
from chromaflow.project.paths import Project


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _validation(project: Project, _result: Mapping[str, Any]) -> None:
    """Counts of the validation: splits, what else is kept, what is in quarantine by reason."""
    report = ValidationReport.read(project.validation_report)
    rows = [{"what": f"split {name}", "images": count} for name, count in report.splits.items()]
    others = {"historic": report.historic, "unused": report.unused, "released": report.waivers.held}
    rows += [{"what": name, "images": count} for name, count in (others | report.reasons).items()]
    description = (
        f"{report.accepted} of {report.rows} images accepted, by split; refused by reason. "
        f"Data Docs: `{project.data_docs / 'index.html'}`; "
        f"pictures: `{project.contact_sheets / 'index.html'}`"
    )
    create_table_artifact(rows, key="validation", description=description)


def _evaluation(project: Project, _result: Mapping[str, Any]) -> None:
    """The metric table with the baselines, and the first held-out picture."""
    metrics = _read(project.evaluation / "metrics.json")
    systems = [name for name, value in metrics.items() if isinstance(value, dict)]
    names = [name for name, value in metrics["model"].items() if isinstance(value, float)]
    rows = [
        {"metric": name, **{system: metrics[system].get(name) for system in systems}}
        for name in names
    ]
    create_table_artifact(rows, key="evaluation", description="The held-out photographs")
    for picture in sorted((project.evaluation / "pictures").glob("*"))[:1]:
        data = base64.b64encode(picture.read_bytes()).decode()
        create_image_artifact(
            f"data:image/{picture.suffix[1:]};base64,{data}",
            key="held-out",
            description="Grey, predicted, true",
        )


def _decision(_project: Project, result: Mapping[str, Any]) -> None:
    """Whether the champion changed, and why."""
    create_markdown_artifact(f"**{result['reason']}**", key="promotion")


OF_STEPS: Mapping[str, Callable[[Project, Mapping[str, Any]], None]] = {
    "validate": _validation,
    "evaluate": _evaluation,
    "promote": _decision,
}
"""What shows a step's outcome: of the checkout and what the step printed with `--json`."""
