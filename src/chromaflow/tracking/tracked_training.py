"""The training step of the command: one at a time per checkout, tracked by MLflow if installed."""

import contextlib
from typing import Any

from chromaflow.project import dvc
from chromaflow.project.packages import is_installed
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training import result_cache
from chromaflow.training.fit import fingerprint, train
from chromaflow.training.ranks import is_first_rank


def train_tracked(project: Project, settings: Settings) -> dict[str, Any]:
    """Train as one MLflow run; without MLflow, as on a node that only trains, without tracking.

    A training that ended and that DVC has not recorded, because it was killed, is not repeated.

    Returns:
        What `chromaflow.training.fit.train` returns.

    Raises:
        ServerError: Another training is running in this checkout, or MLflow does not answer.
        UserError: Whatever stops the training itself.
    """
    with project.lock("training") if is_first_rank() else contextlib.nullcontext():
        found = fingerprint(project, settings)
        summary = result_cache.summary_file(project, found)
        if not dvc.awaits(project, "reports/training/summary.json", summary):
            result_cache.forget(project, found)
        if not is_installed("mlflow"):
            return train(project, settings, known_fingerprint=found)
        from chromaflow.tracking.run import train_as_run  # noqa: PLC0415 (imports mlflow)

        return train_as_run(project, settings, found)
