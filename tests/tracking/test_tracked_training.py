from typing import Any

import pytest

from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking import run, tracked_training
from chromaflow.tracking.client import connect
from tests.support.tracking import RunPython

TRAIN = """
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking import tracked_training
tracked_training.fingerprint = lambda *_: "f" * 64
tracked_training.train = lambda *_, **options: {"trained": True, **options}
print(tracked_training.train_tracked(Project(Path.cwd()), Settings()))
"""
# Hides the package, and not the folder of the checkout.
WITHOUT_MLFLOW = """
import importlib.machinery, os, sys
find = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    if name == "mlflow":
        path = [p for p in sys.path if not os.path.exists(os.path.join(p, "mlflow/__init__.py"))]
    return find(name, path, target)
importlib.machinery.PathFinder.find_spec = find_spec
"""
HALF_OF_MLFLOW = """
import sys
sys.modules["mlflow.client"] = None
"""


def test_a_node_without_mlflow_trains_untracked(project: Project, run_python: RunPython) -> None:
    (project.root / "mlflow").mkdir()
    result = run_python(WITHOUT_MLFLOW + TRAIN)
    expected = {"trained": True, "known_fingerprint": "f" * 64}
    assert result.stdout == f"{expected}\n", result.stderr


def test_an_mlflow_that_is_broken_is_no_node_without_it(
    project: Project, run_python: RunPython
) -> None:
    result = run_python(HALF_OF_MLFLOW + TRAIN)
    assert result.returncode == 1
    assert "mlflow.client" in result.stderr
    assert "trained" not in result.stdout


def test_a_training_is_a_run_and_its_fingerprint_is_computed_once(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    handed_on: list[str] = []

    def fingerprint(*_: Any) -> str:
        computed.append("f" * 64)
        return computed[-1]

    def train(*_: Any, known_fingerprint: str, **__: Any) -> dict[str, Any]:
        handed_on.append(known_fingerprint)
        result = {"digest": "d" * 64, "fingerprint": known_fingerprint}
        return {**result, "steps": 1, "crops": 1, "resumed_from": 0}

    monkeypatch.setattr(tracked_training, "fingerprint", fingerprint)
    monkeypatch.setattr(run, "train", train)
    files.write_text(project.training_report / "curves.csv", "step\n")
    result = tracked_training.train_tracked(project, settings)
    assert result["digest"] == "d" * 64
    assert computed == handed_on == ["f" * 64]
    client = connect(project, settings)
    experiment = client.get_experiment_by_name("chromaflow").experiment_id
    (found,) = client.search_runs([experiment])
    assert found.data.tags["fingerprint"] == "f" * 64
