import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback

pytest.importorskip("mlflow")

from chromaflow.data.store import chunks
from chromaflow.data.store.read import LabItem
from chromaflow.experiments.sample_photographs import read_eight, write_lab
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training.fit import train
from tests.support.tracking import empty_database

__all__ = ["empty_database"]


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Project:
    """A checkout whose three splits hold the eight photographs, and an empty registry."""
    project = Project(tmp_path / "checkout")
    project.state.mkdir(parents=True)
    shutil.copy(empty_database, project.state / "mlflow.db")
    (project.root / "dvc.yaml").write_text("stages: {}\n")
    project.params.write_text("seed: 17\n")
    photographs = read_eight(64)
    write_lab(project, photographs)
    for split in ("validation", "test"):
        folder = project.lab / split
        folder.mkdir()
        items = (LabItem(id=name, lab=lab) for name, lab in photographs.items())
        chunks.write_index(folder, chunks.write(folder, "photographs", 2**24, items), 2**24)
    return project


def tiny(network: str = "efficientnet_lite0", **training: object) -> Settings:
    """A training of some steps."""
    return Settings.model_validate(
        {
            "model": {"network": {"name": network, "width": 0.0625}},
            "training": {
                **{"steps": 6, "batch": 2, "crop": 32, "validate_every": 3},
                **{"accelerator": "cpu", "threads": 1, **training},
            },
            "evaluation": {"size": 64, "pictures": 1},
        }
    )


class _Signal(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def signal_at(step: int) -> Callable[..., dict[str, Any]]:
    """`train`, whose process is asked to stop after a step."""

    def interrupted(
        *arguments: Any, callbacks: Sequence[Callback] = (), **options: Any
    ) -> dict[str, Any]:
        return train(*arguments, callbacks=[*callbacks, _Signal(step)], **options)

    return interrupted
