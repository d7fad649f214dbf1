import shutil
from pathlib import Path

import pytest

pytest.importorskip("mlflow")

from chromaflow.experiments.photographs import read_eight, write_lab
from chromaflow.project import Project
from chromaflow.settings import Settings
from chromaflow.store import chunks
from chromaflow.store.read import LabItem
from chromaflow.tracking.client import connect


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated sqlite file; the migrations of MLflow take seconds, a copy takes none."""
    project = Project(tmp_path_factory.mktemp("template"))
    connect(project, Settings())
    return project.state / "mlflow.db"


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
            "model": {"network": network, "width": 0.0625},
            "training": {
                **{"steps": 6, "batch": 2, "crop": 32, "validate_every": 3},
                **{"accelerator": "cpu", "threads": 1, **training},
            },
            "evaluation": {"size": 64, "pictures": 1},
        }
    )
