import numpy as np
import pytest
import torch
from skimage import data

from chromaflow.color.lab import join, lab_to_rgb, rgb_to_lab
from chromaflow.models import build_model
from chromaflow.models.model_folder import load_model, model_digest, save_model
from chromaflow.settings import Model
from chromaflow.tracking.client import connect, tracking_uri
from chromaflow.tracking.registry import register
from chromaflow.tracking.registry.package import requirements


@pytest.fixture
def registered(project, settings, write_evaluation):
    torch.manual_seed(0)
    model = build_model(Model(network={"width": 0.0625, "weights": "none"}))
    save_model(model, project.candidate)
    digest = model_digest(project.candidate)
    write_evaluation(digest)
    register.register(project, settings)
    connect(project, settings).set_registered_model_alias("chromaflow", "champion", "1")
    return digest


def test_the_registry_names_a_model_as_its_folder_does(project, registered):
    assert register.candidate_digest(project) == registered


def test_a_fresh_process_without_chromaflow_gives_the_same_colors(
    project, settings, registered, run_python
):
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
    model = load_model(register.champion_folder(project, settings))
    rgb = torch.from_numpy(grey).float()[:, None].repeat(1, 3, 1, 1) / 255
    lightness = rgb_to_lab(rgb)[:, :1]
    with torch.inference_mode():
        expected = lab_to_rgb(join(lightness, model.predict_ab(lightness)))
    expected = (expected * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (Model(), []),
        (Model(network="vcnn", codebook="regression", refine="total_variation"), ["scikit-image"]),
        (
            Model(
                network={"name": "cheng", "backbone": "resnet18", "weights": "none"},
                codebook="regression",
            ),
            ["timm"],
        ),
    ],
)
def test_requirements_are_what_the_model_needs_pinned_without_local_builds(tmp_path, model, more):
    histogram = np.ones((256, 256), dtype=np.int64)
    save_model(build_model(model, histogram=histogram), tmp_path / "model")
    pins = requirements(tmp_path / "model")
    assert [pin.partition("==")[0] for pin in pins] == ["numpy", "safetensors", "torch", *more]
    assert all("+" not in pin for pin in pins)
