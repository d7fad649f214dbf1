import subprocess
from collections.abc import Callable

from chromaflow.project.paths import Project

RunPython = Callable[[str], subprocess.CompletedProcess[str]]

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
    assert result.stdout == "{'trained': True}\n", result.stderr


def test_an_mlflow_that_is_broken_is_no_node_without_it(
    project: Project, run_python: RunPython
) -> None:
    result = run_python(HALF_OF_MLFLOW + TRAIN)
    assert result.returncode == 1
    assert "mlflow.client" in result.stderr
    assert "trained" not in result.stdout
