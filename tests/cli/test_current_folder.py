"""Commands leave the current folder alone: what a user types is relative to it, what a setting
names is relative to the checkout."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from chromaflow import settings
from chromaflow.cli import main
from chromaflow.data.sources.base import open_source
from chromaflow.errors import DataError, ModelError
from chromaflow.models import build_model
from chromaflow.models.model_folder import save_model
from chromaflow.project.paths import Project
from chromaflow.settings import Model, Settings, with_absolute_weights
from chromaflow.settings.networks import PretrainedNetwork
from chromaflow.tracking.client import tracking_uri


@pytest.fixture
def below(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the checkout, which is the current one."""
    folder = project.root / "here" / "below"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_settings_of_the_checkout_are_found_from_below(project: Project, below: Path) -> None:
    settings.save(project, Settings(seed=5))
    assert json.loads(run("settings", "--json"))["seed"] == 5
    assert Path.cwd() == below


def test_what_a_user_types_is_relative_to_the_current_folder(project: Project, below: Path) -> None:
    torch.manual_seed(0)
    model = Model.model_validate(
        {
            "network": {"name": "unet", "width": 0.125, "depth": 0.34},
            "codebook": {"name": "regression"},
            "size": 64,
        }
    )
    save_model(build_model(model), below.parent / "model")
    Image.fromarray(data.camera()[::4, ::4]).save(below / "old.png")
    # With a setting, the checkout is looked for as well.
    run("colorize", "old.png", "-o", "new", "--model", "../model", "--set", "seed=3")
    assert np.asarray(Image.open(below / "new" / "old-color.png")).shape == (128, 128, 3)
    run("export", "../model.onnx", "--model", "../model", "--side", "64", "--set", "seed=3")
    assert (below.parent / "model.onnx").is_file()
    assert Path.cwd() == below


def test_folders_that_settings_name_are_relative_to_the_checkout(
    project: Project, below: Path
) -> None:
    for folder in (project.root / "photographs", below / "others"):
        folder.mkdir()
        Image.fromarray(data.camera()).save(folder / "camera.png")
    source = {"name": "folder", "folder": "photographs"}
    assert open_source("folder", project, Settings.model_validate({"source": source})).total == 1
    source["folder"] = "others"
    with pytest.raises(DataError, match="others"):
        open_source("folder", project, Settings.model_validate({"source": source}))


def test_weights_that_settings_name_are_relative_to_the_checkout(
    project: Project, below: Path
) -> None:
    values = Settings.model_validate(
        {
            "model": {"network": {"name": "efficientnet_lite0", "weights": "mine.safetensors"}},
            "training": {
                "losses": {"perceptual": {"weight": 1.0, "backbone_weights": "~/other.safetensors"}}
            },
        }
    )
    found = with_absolute_weights(project, values)
    assert isinstance(found.model.network, PretrainedNetwork)
    assert found.model.network.weights == str(project.root / "mine.safetensors")
    assert found.training.losses.perceptual is not None
    assert found.training.losses.perceptual.backbone_weights == str(
        Path.home() / "other.safetensors"
    )
    assert with_absolute_weights(project, Settings()) == Settings()
    with pytest.raises(ModelError, match=f"{project.root}/mine.safetensors cannot be read"):
        run("sanity", "efficientnet", "--set", "model.network.weights=mine.safetensors")


def test_a_database_that_settings_name_is_relative_to_the_checkout(
    project: Project, below: Path
) -> None:
    def uri(text: str) -> str:
        return tracking_uri(project, Settings.model_validate({"tracking": {"uri": text}}))

    assert uri("sqlite:///own.db") == f"sqlite:///{project.root}/own.db"
    assert uri("sqlite:////srv/own.db") == "sqlite:////srv/own.db"
    assert uri("http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert uri("") == f"sqlite:///{project.root}/.chromaflow/mlflow.db"
