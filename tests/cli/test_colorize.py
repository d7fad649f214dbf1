import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.color import rgb2gray
from torch import nn
from typer.testing import CliRunner, Result

from chromaflow.cli import main
from chromaflow.errors import DataError, ModelError, SettingsError
from chromaflow.models import build_model
from chromaflow.models.model_folder import save_model
from chromaflow.models.networks.zhang2017 import UserGuided
from chromaflow.settings import Model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photograph, hints for it, and an untrained model of a network that takes hints."""
    torch.manual_seed(0)
    settings = Model.model_validate(
        {
            "network": {"name": "zhang2017", "width": 0.05, "depth": 0.1},
            "codebook": "regression",
        }
    )
    model = build_model(settings)
    assert isinstance(model.network, UserGuided)
    for layer in model.network.overall[::2]:
        assert isinstance(layer, nn.Conv2d)
        layer.weight.data.mul_(4)  # untrained, global hints would change less than a level
    save_model(model, tmp_path / "model")
    grey = (rgb2gray(data.chelsea()) * 255).astype(np.uint8)[::4, ::4]
    Image.fromarray(grey).save(tmp_path / "cat.png")
    Image.fromarray(data.coffee()[::4, ::4]).save(tmp_path / "coffee.png")
    (tmp_path / "palette.txt").write_text("#aa3311\nteal\n")
    hints = {"points": [{"x": 50, "y": 40, "color": "orange", "radius": 20}]}
    (tmp_path / "hints.json").write_text(json.dumps(hints))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    given = ["colorize", "cat.png", "--model", "model", *arguments]
    return CliRunner().invoke(main.app, given, catch_exceptions=False)


def colored(folder: Path, *arguments: str) -> NDArray[np.int64]:
    result = run("--json", *arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["done"] == 1
    return np.asarray(Image.open(folder / "colorized" / "cat-color.png")).astype(int)


def test_each_kind_of_hint_changes_the_color(folder: Path) -> None:
    plain = colored(folder)
    kinds = (
        ["--hints", "hints.json"],
        ["--palette", "#aa3311,teal"],
        ["--reference", "coffee.png"],
        ["--saturation", "0"],
    )
    pictures = [colored(folder, *kind) for kind in kinds]
    assert all((picture != plain).any() for picture in pictures)
    np.testing.assert_array_equal(colored(folder, "--palette", "palette.txt"), pictures[1])


def test_mistakes_are_told(folder: Path) -> None:
    with pytest.raises(SettingsError, match="unknown device 'gpu'"):
        run("--device", "gpu")
    with pytest.raises(ModelError, match="unknown refinement 'sharpen'"):
        run("--refine", "sharpen")
    with pytest.raises(SettingsError, match="unknown upsampling 'cubic'"):
        run("--upsample", "cubic")
    with pytest.raises(DataError, match="color 'tael' is not known"):
        run("--palette", "tael")
    with pytest.raises(SettingsError, match="--palette and --reference"):
        run("--palette", "teal", "--reference", "coffee.png")
    with pytest.raises(SettingsError, match=r"hints\.json is for one photograph"):
        run("coffee.png", "--hints", "hints.json")
    assert run("--saturation", "2").exit_code == 2
    other = Model.model_validate({"network": {"width": 0.0625, "weights": "none"}})
    save_model(build_model(other), folder / "model")
    with pytest.raises(ModelError, match="efficientnet_lite0 takes no hints"):
        run("--hints", "hints.json")


def test_each_option_changes_the_color(folder: Path) -> None:
    plain = colored(folder)
    kinds = (["--refine", "guided"], ["--upsample", "joint_bilateral"])
    assert all((colored(folder, *kind) != plain).any() for kind in kinds)
    np.testing.assert_array_equal(colored(folder, "--device", "cpu", "--refine", "none"), plain)


def test_points_outside_fail_by_name(folder: Path) -> None:
    (folder / "hints.json").write_text('{"points": [{"x": 500, "y": 4, "color": "red"}]}')
    result = run("--hints", "hints.json")
    assert result.exit_code == 1
    assert "point 1 at x = 500, y = 4 is outside the photograph, which is 113 × 75" in result.output
    assert not (folder / "colorized" / "cat-color.png").exists()
