import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mlflow")

from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect
from chromaflow.tracking.registry import register
from chromaflow.tracking.registry.package import MODEL_PATH


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A migrated sqlite file; the migrations of MLflow take seconds, a copy takes none."""
    project = Project(tmp_path_factory.mktemp("template"))
    connect(project, Settings())
    return project.state / "mlflow.db"


@pytest.fixture
def settings():
    return Settings()


@pytest.fixture
def project(tmp_path, empty_database):
    """A checkout with settings and an empty registry."""
    project = Project(tmp_path / "checkout")
    project.state.mkdir(parents=True)
    shutil.copy(empty_database, project.state / "mlflow.db")
    (project.root / "dvc.yaml").write_text("stages: {}\n")
    project.params.write_text("seed: 17\n")
    return project


@pytest.fixture
def write_candidate(project):
    """Write a model folder of noise; gives its digest."""

    def write(seed=0):
        noise = np.random.default_rng(seed).bytes(4096)
        parts = {"network": {"name": "vcnn"}, "codebook": {"name": "regression"}, "refine": "none"}
        files.write_json(project.candidate / "model.json", {"format": 2, "seed": seed, **parts})
        files.write_bytes(project.candidate / "weights.safetensors", noise)
        return files.digest_of_folder(project.candidate)

    return write


@pytest.fixture
def write_evaluation(project):
    """Write what the evaluation step leaves, of 8 images on which the model gains `gain` ± 0.02."""

    def write(digest, gain=0.1):
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
def light_package(monkeypatch):
    """Register the bare model folder; a whole MLflow model takes a second to write."""
    monkeypatch.setattr(
        register,
        "write_package",
        lambda folder, target, _: shutil.copytree(folder, target / MODEL_PATH),
    )


@pytest.fixture
def git(project):
    """Run git in the checkout."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]

    def run(*arguments):
        command = ["git", "-C", project.root, *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    return run


@pytest.fixture
def run_python(project):
    """Run code in a process of its own, in the checkout; gives the finished process."""
    import os
    import sys

    source = str(Path(__file__).parents[2] / "src")

    def run(code, **environment):
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=project.root,
            env={**os.environ, "PYTHONPATH": source, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
