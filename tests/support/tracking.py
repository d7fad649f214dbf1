"""Fixtures of a checkout with a registry, and what calling them gives."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mlflow")

from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect
from chromaflow.tracking.registry import artifacts
from chromaflow.tracking.registry.package import MODEL_PATH


class WriteCandidate(Protocol):
    """Writes a model folder of noise; gives its digest."""

    def __call__(self, seed: int = 0) -> str: ...


class WriteEvaluation(Protocol):
    """Writes the evaluation of the model of a digest, which gains so much."""

    def __call__(self, digest: str, gain: float = 0.1) -> None: ...


class RunGit(Protocol):
    """Runs git with some arguments."""

    def __call__(self, *arguments: str) -> None: ...


class RunPython(Protocol):
    """Runs code with further variables of the environment."""

    def __call__(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated sqlite file; the migrations of MLflow take seconds, a copy takes none."""
    # Each folder of tests that imports this has a fixture of its own; the file is one for all.
    project = Project(tmp_path_factory.getbasetemp() / "empty_registry")
    database = project.state / "mlflow.db"
    if not database.exists():
        connect(project, Settings())
    return database


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Project:
    """A checkout with settings and an empty registry."""
    project = Project(tmp_path / "checkout")
    project.state.mkdir(parents=True)
    shutil.copy(empty_database, project.state / "mlflow.db")
    (project.root / "dvc.yaml").write_text("stages: {}\n")
    project.params.write_text("seed: 17\n")
    return project


@pytest.fixture
def write_candidate(project: Project) -> WriteCandidate:
    """Write a model folder of noise; gives its digest."""

    def write(seed: int = 0) -> str:
        noise = np.random.default_rng(seed).bytes(4096)
        parts = {"network": {"name": "vcnn"}, "codebook": {"name": "regression"}, "refine": "none"}
        files.write_json(project.candidate / "model.json", {"format": 2, "seed": seed, **parts})
        files.write_bytes(project.candidate / "weights.safetensors", noise)
        return files.digest_of_folder(project.candidate)

    return write


@pytest.fixture
def write_evaluation(project: Project) -> WriteEvaluation:
    """Write what the evaluation step leaves, of 8 images on which the model gains `gain` ± 0.02."""

    def write(digest: str, gain: float = 0.1) -> None:
        rows = ["id,system,auc_rebalanced,delta_e_2000,weight"]
        for system, level in {"model": gain, "grey": 0.0, "mean_color": 0.01}.items():
            for image in range(8):
                value = 0.5 + level + (image % 3 - 1) * 0.02 * (system == "model")
                rows.append(f"image{image},{system},{value:.6f},{20 - 10 * value:.6f},1.000000")
        metrics = {
            "digest": digest,
            "images": 8,
            "model": {"auc_rebalanced": 0.5 + gain, "delta_e_2000": 15 - 10 * gain},
            "grey": {"auc_rebalanced": 0.5, "delta_e_2000": 15.0},
            "mean_color": {"auc_rebalanced": 0.51, "delta_e_2000": 14.9},
            "truth": {"colorfulness": 30.0},
        }
        files.write_json(project.evaluation / "metrics.json", metrics)
        files.write_text(project.evaluation / "per_image.csv", "\n".join(rows) + "\n")
        strip = np.zeros((32, 96, 3), np.uint8)
        strip[:, 32:64] = (200, 30, 30)
        picture = project.evaluation / "pictures" / "01-image3.png"
        picture.parent.mkdir(exist_ok=True)
        Image.fromarray(strip).save(picture)

    return write


@pytest.fixture
def candidate(write_candidate: WriteCandidate, write_evaluation: WriteEvaluation) -> str:
    """The digest of a candidate that was evaluated."""
    digest = write_candidate()
    write_evaluation(digest)
    return digest


@pytest.fixture
def light_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the bare model folder; a whole MLflow model takes a second to write."""
    monkeypatch.setattr(
        artifacts,
        "write_package",
        lambda folder, target, _: shutil.copytree(folder, target / MODEL_PATH),
    )


@pytest.fixture
def git(project: Project) -> RunGit:
    """Run git in the checkout."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]

    def run(*arguments: str) -> None:
        command = ["git", "-C", str(project.root), *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    return run


@pytest.fixture
def run_python(project: Project) -> RunPython:
    """Run code in a process of its own, in the checkout; gives the finished process."""
    source = str(Path(__file__).parents[2] / "src")

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=project.root,
            env={**os.environ, "PYTHONPATH": source, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
