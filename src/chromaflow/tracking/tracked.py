"""The training step as the command runs it: alone in its checkout, and tracked where MLflow is."""

import contextlib
import os
from typing import Any

from chromaflow import dvc
from chromaflow.packages import is_installed
from chromaflow.project import Project
from chromaflow.settings import Settings
from chromaflow.training import finished
from chromaflow.training.train import fingerprint, train


def is_first_rank() -> bool:
    """Whether this process leads its training; the others log and lock nothing."""
    return (os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0") == "0"


def train_tracked(project: Project, settings: Settings) -> dict[str, Any]:
    """Train as one MLflow run; without MLflow, as on a node that only trains, without tracking.

    A training that ended and that DVC has not recorded, because it was killed, is not repeated.

    Returns:
        What `chromaflow.training.train.train` returns.

    Raises:
        ServerError: Another training is at work in this checkout, or MLflow does not answer.
        UserError: Whatever stops the training itself.
    """
    with project.alone("training") if is_first_rank() else contextlib.nullcontext():
        mark = fingerprint(project, settings)
        summary = finished.summary_file(project, mark)
        if not dvc.awaits(project, "reports/training/summary.json", summary):
            finished.forget(project, mark)
        if not is_installed("mlflow"):
            return train(project, settings)
        from chromaflow.tracking.training_run import training_run  # noqa: PLC0415

        with training_run(project, settings) as run:
            result = train(project, settings, loggers=run.loggers, callbacks=run.callbacks)
            run.finish(result)
        return result
