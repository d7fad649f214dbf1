"""The result of a finished training, kept until the caller has recorded it.

DVC removes the outputs of a stage before it runs it, so a kill between the end of the training and
DVC's record would cost the whole training without this copy.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from chromaflow.models.model_folder import model_digest
from chromaflow.project import files
from chromaflow.project.paths import Project

_FOLDER = "finished"


def _place(project: Project, fingerprint: str) -> Path:
    return project.checkpoints / fingerprint / _FOLDER


def summary_file(project: Project, fingerprint: str) -> Path:
    """Where the copy of `reports/training/summary.json` of a finished training lies.

    Args:
        project: The checkout.
        fingerprint: Of the training.
    """
    return _place(project, fingerprint) / "training" / "summary.json"


def keep(project: Project, fingerprint: str) -> None:
    """Copy the outputs of a training; its checkpoint and those of other trainings are deleted."""
    with files.atomic_folder(_place(project, fingerprint)) as folder:
        shutil.copytree(project.candidate, folder / "candidate")
        shutil.copytree(project.training_report, folder / "training")
    for path in project.checkpoints.iterdir():
        if path.name != fingerprint:
            shutil.rmtree(path, ignore_errors=True)
    (project.checkpoints / fingerprint / "last.ckpt").unlink(missing_ok=True)


def restore(project: Project, fingerprint: str) -> dict[str, Any] | None:
    """Put the outputs of a finished training back.

    Returns:
        What stands in its `summary.json`; None where none is kept, or not as it was written.
    """
    folder = _place(project, fingerprint)
    if not folder.is_dir():
        return None
    try:
        summary: dict[str, Any] = json.loads(
            summary_file(project, fingerprint).read_text(encoding="utf-8")
        )
        whole = model_digest(folder / "candidate") == summary["digest"]
    except (OSError, ValueError, KeyError):
        whole = False
    if not whole:
        forget(project, fingerprint)
        return None
    for name, target in (("candidate", project.candidate), ("training", project.training_report)):
        with files.atomic_folder(target) as temporary:
            shutil.copytree(folder / name, temporary, dirs_exist_ok=True)
    return summary


def forget(project: Project, fingerprint: str) -> None:
    """Delete what is kept of a finished training, so that the next one truly trains."""
    if _place(project, fingerprint).is_dir():
        shutil.rmtree(project.checkpoints / fingerprint)
