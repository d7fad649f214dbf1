"""The step `chromaflow train`: train the candidate as one tracked run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.tracked_training import train_tracked


@dataclass(frozen=True)
class TrainResult:
    """A training that came to its end.

    Args:
        digest: Of the model folder.
        steps: Optimizer steps.
        resumed_from: The step of the checkpoint that it went on from; 0 where there was none.
        fingerprint: Of what decided the weights, 64 hexadecimal digits.
        record: The content of `reports/training/summary.json`.
    """

    digest: str
    steps: int
    resumed_from: int
    fingerprint: str
    record: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The record, and what is not the same in every training of these weights."""
        own = {"fingerprint": self.fingerprint, "resumed_from": self.resumed_from}
        return {**self.record, **own}

    def summary(self) -> str:
        """The weights' name and the steps."""
        return f"models/candidate: {self.digest}, {self.steps} steps"


def train(project: Project, settings: Settings) -> TrainResult:
    """Train `models/candidate` on `data/lab`, or resume from the last checkpoint.

    Args:
        project: The checkout.
        settings: Its `seed`, `model` and `training` decide the weights.

    Raises:
        ServerError: Another training is running in this checkout, or MLflow does not answer.
        UserError: Whatever stops the training itself.
    """
    record = train_tracked(project, settings)
    resumed_from, fingerprint = record.pop("resumed_from"), record.pop("fingerprint")
    return TrainResult(record["digest"], record["steps"], resumed_from, fingerprint, record)
