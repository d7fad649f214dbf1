from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import color, data

from chromaflow.errors import DataError
from chromaflow.evaluation.baselines import constant
from chromaflow.experiments.comparison import Row
from chromaflow.experiments.costs import Costs
from chromaflow.experiments.strips import GAP, SIDE, read_lightness, strip, write_strips
from chromaflow.models import build_model
from chromaflow.models.model_folder import save_model
from chromaflow.project.paths import Project
from chromaflow.settings import Model


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph that is wider than high."""
    path = tmp_path_factory.mktemp("own") / "coffee.png"
    Image.fromarray(data.coffee()).save(path)
    return path


def test_a_photograph_is_read_at_the_size_that_models_see(photograph: Path) -> None:
    lightness = read_lightness(photograph)
    assert lightness.shape == (1, 1, 256, 384)
    mean = color.rgb2lab(data.coffee())[..., 0].mean()
    assert float(lightness.mean()) == pytest.approx(mean, abs=0.5)


def test_what_is_no_photograph_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no picture")
    with pytest.raises(DataError, match=r"notes\.txt is not a picture"):
        read_lightness(path)


def test_photographs_stand_in_a_row_with_the_predicted_color(photograph: Path) -> None:
    square = torch.full((1, 1, 64, 64), 50.0)
    row = strip(constant(40, 20), [square, read_lightness(photograph)])
    assert row.size == (SIDE + GAP + 192, SIDE)
    pixels = np.asarray(row)
    assert (pixels[:, SIDE : SIDE + GAP] == 255).all()
    lab = color.rgb2lab(pixels[:, :SIDE])
    assert np.abs(lab - [50, 40, 20]).max() < 1


def test_each_system_colors_what_is_held_out_and_what_is_the_users(
    project: Project, photograph: Path, tmp_path: Path
) -> None:
    model = build_model(
        Model.model_validate({"network": {"width": 0.0625, "weights": "none"}})
    ).eval()
    save_model(model, tmp_path / "trial" / "model")
    costs = Costs(parameters=1, gigaflops=1.0, milliseconds=1.0, megabytes=1.0)
    row = Row("one", 10, 80, 1.0, {}, costs, "", "chromaflow/1", str(tmp_path / "trial"))
    folder = tmp_path / "strips"
    found = write_strips(project, [row], folder, [read_lightness(photograph)])
    assert [strips.system for strips in found] == ["grey", "mean color", "truth", "one"]
    sizes = {path.name: Image.open(path).size for path in folder.iterdir()}
    held_out, own = (8 * (SIDE + GAP) - GAP, SIDE), (192, SIDE)
    assert sizes == {
        "grey.jpg": held_out, "grey-own.jpg": own, "mean-color.jpg": held_out,
        "mean-color-own.jpg": own, "truth.jpg": held_out, "one.jpg": held_out, "one-own.jpg": own,
    }  # fmt: skip
    grey = np.asarray(Image.open(folder / "grey.jpg")).astype(int)
    assert np.ptp(grey, axis=2).max() < 3
    assert np.ptp(np.asarray(Image.open(folder / "truth.jpg")).astype(int), axis=2).max() > 50


def test_without_photographs_of_the_users_there_are_no_strips_of_them(
    project: Project, tmp_path: Path
) -> None:
    found = write_strips(project, [], tmp_path / "strips")
    assert [strips.own for strips in found] == [None, None, None]
