"""A training that came to its end, kept until whoever asked for it has taken note.

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


def _place(project: Project, mark: str) -> Path:
    return project.checkpoints / mark / _FOLDER


def summary_file(project: Project, mark: str) -> Path:
    """Where the copy of `reports/training/summary.json` of a finished training lies.

    Args:
        project: The checkout.
        mark: The fingerprint of the training.
    """
    return _place(project, mark) / "training" / "summary.json"


def keep(project: Project, mark: str) -> None:
    """Copy the outputs of a training; its checkpoint and those of other trainings are deleted."""
    with files.atomic_folder(_place(project, mark)) as folder:
        shutil.copytree(project.candidate, folder / "candidate")
        shutil.copytree(project.training_report, folder / "training")
    for path in project.checkpoints.iterdir():
        if path.name != mark:
            shutil.rmtree(path, ignore_errors=True)
    (project.checkpoints / mark / "last.ckpt").unlink(missing_ok=True)


def restore(project: Project, mark: str) -> dict[str, Any] | None:
    """Put the outputs of a finished training back.

    Returns:
        What stands in its `summary.json`; None where none is kept, or not as it was written.
    """
    folder = _place(project, mark)
    if not folder.is_dir():
        return None
    try:
        summary: dict[str, Any] = json.loads(
            summary_file(project, mark).read_text(encoding="utf-8")
        )
        whole = model_digest(folder / "candidate") == summary["digest"]
    except (OSError, ValueError, KeyError):
        whole = False
    if not whole:
        forget(project, mark)
        return None
    for name, target in (("candidate", project.candidate), ("training", project.training_report)):
        with files.atomic_folder(target) as temporary:
            shutil.copytree(folder / name, temporary, dirs_exist_ok=True)
    return summary


def forget(project: Project, mark: str) -> None:
    """Delete what is kept of a finished training, so that the next one truly trains."""
    if _place(project, mark).is_dir():
        shutil.rmtree(project.checkpoints / mark)
