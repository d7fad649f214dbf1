import re
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from chromaflow.colorize.predictor import Predictor
from chromaflow.models import build_model
from chromaflow.models.model_folder import load_model, model_digest, save_model
from chromaflow.models.onnx import export_onnx
from chromaflow.project.paths import Project
from chromaflow.settings import Model, Settings
from chromaflow.steps.register import register
from chromaflow.tracking.client import connect, tracking_uri
from chromaflow.tracking.registry.candidate import candidate_digest
from chromaflow.tracking.registry.package import requirements
from chromaflow.tracking.registry.registry import Registry
from tests.support.tracking import RunPython, WriteEvaluation


@pytest.fixture
def registered(project: Project, settings: Settings, write_evaluation: WriteEvaluation) -> str:
    torch.manual_seed(0)
    model = build_model(Model.model_validate({"network": {"width": 0.0625, "weights": "none"}}))
    save_model(model, project.candidate)
    digest = model_digest(project.candidate)
    write_evaluation(digest)
    register(project, settings)
    connect(project, settings).set_registered_model_alias("chromaflow", "champion", "1")
    return digest


def test_the_registry_names_a_model_as_its_folder_does(project: Project, registered: str) -> None:
    assert candidate_digest(project) == registered


def test_a_fresh_process_without_chromaflow_gives_the_same_pictures(
    project: Project, settings: Settings, registered: str, run_python: RunPython
) -> None:
    photographs = np.stack([data.coffee()[:96, :128].mean(2), data.chelsea()[:96, :128].mean(2)])
    grey = photographs.astype(np.uint8)
    np.save(project.root / "grey.npy", grey)
    code = f"""
import mlflow, numpy, sys
mlflow.set_tracking_uri({tracking_uri(project, settings)!r})
model = mlflow.pyfunc.load_model("models:/chromaflow@champion")
assert {str(project.root)!r} in sys.modules["chromaflow"].__file__
numpy.save("rgb.npy", model.predict(numpy.load("grey.npy")))
"""
    done = run_python(code, PYTHONPATH="", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    found = np.load(project.root / "rgb.npy")
    predictor = Predictor.load(Registry(project, settings).champion_folder())
    assert predictor.digest == registered
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.stack([predictor.color(one) for one in grey]))


def test_coloring_needs_no_more_than_the_requirements(
    project: Project, registered: str, run_python: RunPython
) -> None:
    # The settings need pydantic and PyYAML, which MLflow itself brings.
    others = ("PIL", "av", "pytorch_lightning", "scenedetect", "skimage", "torchmetrics")
    code = f"""
import sys
sys.modules |= dict.fromkeys({others!r})
import numpy
from pathlib import Path
from chromaflow.colorize.predictor import Predictor
predictor = Predictor.load(Path({str(project.candidate)!r}))
assert predictor.color(numpy.zeros((40, 50), numpy.uint8)).shape == (40, 50, 3)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (Model(), []),
        (
            Model.model_validate(
                {"network": "vcnn", "codebook": "regression", "refine": "total_variation"}
            ),
            ["scikit-image"],
        ),
        (
            Model.model_validate(
                {
                    "network": {"name": "cheng", "backbone": "resnet18", "weights": "none"},
                    "codebook": "regression",
                }
            ),
            ["timm"],
        ),
    ],
)
def test_requirements_are_what_the_model_needs_pinned_without_local_builds(
    tmp_path: Path, model: Model, more: list[str]
) -> None:
    histogram = np.ones((256, 256), dtype=np.int64)
    save_model(build_model(model, histogram=histogram), tmp_path / "model")
    pins = requirements(tmp_path / "model")
    always = ["numpy", "opencv-python-headless", "safetensors", "torch"]
    assert [pin.partition("==")[0] for pin in pins] == [*always, *more]
    assert all("+" not in pin for pin in pins)


def test_the_documented_python_runs_and_gives_one_picture(
    project: Project, settings: Settings, registered: str, run_python: RunPython
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "colorizing.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    export_onnx(load_model(project.candidate), project.root / "model.onnx", digest=registered)
    code = f"""
import mlflow, numpy
grey = numpy.linspace(0, 255, 64 * 80).reshape(64, 80).astype(numpy.uint8)
mlflow.set_tracking_uri({tracking_uri(project, settings)!r})
{block}
numpy.save("pictures.npy", [refined, exported, registered])
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    refined, exported, from_registry = np.load(project.root / "pictures.npy").astype(int)
    assert refined.shape == (64, 80, 3)
    assert np.abs(exported - from_registry).max() <= 1
