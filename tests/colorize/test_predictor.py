import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from skimage.color import lab2rgb, rgb2gray, rgb2lab
from torch import Tensor

from chromaflow.colorize.predictor import ColorOptions, Predictor, find_device
from chromaflow.errors import ModelError, SettingsError
from chromaflow.models import build_model
from chromaflow.models.model_folder import model_digest, save_model
from chromaflow.models.networks.base import Guide
from chromaflow.settings import Model
from tests.support.models import TintModel, predictor_of


def _cat() -> NDArray[np.uint8]:
    cat: NDArray[np.uint8] = (rgb2gray(data.chelsea()) * 255).round().astype(np.uint8)
    return cat


def test_a_photograph_is_what_the_whole_image_join_of_scikit_image_gives(tint: Predictor) -> None:
    grey = _cat()
    lightness = rgb2lab(np.dstack([grey] * 3))[..., 0]
    small = tint.predict_small(grey)
    ab = cv2.resize(small.transpose(1, 2, 0), grey.shape[::-1])
    expected = lab2rgb(np.dstack([lightness, ab]))
    inside = ((expected > 0.01) & (expected < 0.99)).all(axis=2)
    assert inside.mean() > 0.5
    rgb = tint.color(grey)
    assert np.abs(rgb / 255 - expected)[inside].max() < 0.6 / 255


def test_strips_join_without_a_seam(tint: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = _cat()
    whole = tint.color(grey)
    monkeypatch.setattr("chromaflow.colorize.predictor._STRIP_PIXELS", 7 * grey.shape[1])
    strips = list(tint.strips(grey, np.uint8))
    assert [top for top, _ in strips[:3]] == [0, 7, 14]
    np.testing.assert_array_equal(np.concatenate([strip for _, strip in strips]), whole)


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((300, 451), (64, 96)),
        ((1, 1), (64, 64)),
        ((1, 5000), (64, 256)),
        ((5000, 1), (256, 64)),
        ((20, 30), (64, 96)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_size_is_seen_whole_and_given_back(
    tint: Predictor,
    colorless: Predictor,
    shape: tuple[int, int],
    seen: tuple[int, int],
    dtype: type[np.uint8 | np.uint16],
) -> None:
    top = int(np.iinfo(dtype).max)
    grey = np.random.default_rng(3).integers(0, top, shape, endpoint=True).astype(dtype)
    rgb = tint.color(grey)
    assert rgb.shape == (*shape, 3)
    assert rgb.dtype == dtype
    assert isinstance(tint.model, TintModel)
    assert tint.model.shapes == [(1, 1, *seen)]
    np.testing.assert_array_equal(colorless.color(grey), np.dstack([grey] * 3))


def test_a_model_in_half_precision_is_one_too() -> None:
    class Half(TintModel):
        def predict_ab(
            self, lightness: Tensor, guide: Guide | None = None, *, refine: str | None = None
        ) -> Tensor:
            return super().predict_ab(lightness, guide, refine=refine).bfloat16()

    rgb = predictor_of(Half()).color(np.full((40, 40), 128, np.uint8))
    expected = predictor_of(TintModel()).color(np.full((40, 40), 128, np.uint8))
    assert np.abs(rgb.astype(int) - expected).max() <= 1
    assert rgb[..., 0].min() > rgb[..., 1].max()


def test_what_cannot_be_colored_is_refused_by_name(tint: Predictor) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        tint.color(np.zeros((0, 4), np.uint8))
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        tint.color(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(TypeError, match="float64"):
        tint.color(np.zeros((4, 4)))
    with pytest.raises(ModelError, match="not numbers"):
        predictor_of(TintModel(float("nan"))).color(np.zeros((4, 4), np.uint8))


def test_options_that_are_not_known_are_refused_at_once() -> None:
    with pytest.raises(SettingsError, match="size = 31"):
        ColorOptions(size=31)
    with pytest.raises(ModelError, match="unknown refinement 'sharpen'"):
        ColorOptions(refine="sharpen")
    with pytest.raises(SettingsError, match="unknown upsampling 'cubic'"):
        ColorOptions(upsample="cubic")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of its own size."""
    torch.manual_seed(0)
    settings = Model.model_validate(
        {
            "network": {"name": "unet", "width": 0.125, "depth": 0.34},
            "codebook": "regression",
            "size": 80,
        }
    )
    save_model(build_model(settings), tmp_path / "model")
    return tmp_path / "model"


def test_a_loaded_predictor_knows_its_digest_size_and_device(folder: Path) -> None:
    predictor = Predictor.load(folder, "cpu")
    assert predictor.digest == model_digest(folder)
    assert (predictor.size, predictor.device) == (80, torch.device("cpu"))
    assert predictor.predict_small(_cat()).shape == (2, 80, 120)
    assert predictor.predict_small(_cat(), ColorOptions(size=64)).shape == (2, 64, 96)
    with pytest.raises(dataclasses.FrozenInstanceError):
        predictor.size = 64  # type: ignore[misc]


def test_a_folder_of_the_format_before_gives_the_picture_at_256(folder: Path) -> None:
    expected = Predictor.load(folder, "cpu").color(_cat(), ColorOptions(size=256))
    description = json.loads((folder / "model.json").read_text())
    del description["size"]
    (folder / "model.json").write_text(json.dumps({**description, "format": 2}))
    predictor = Predictor.load(folder, "cpu")
    assert predictor.digest == model_digest(folder)
    np.testing.assert_array_equal(predictor.color(_cat()), expected)


def test_files_beside_the_model_do_not_matter(folder: Path) -> None:
    digest = Predictor.load(folder, "cpu").digest
    (folder / "model.sig").write_text("a signature")
    assert Predictor.load(folder, "cpu").digest == digest


def test_the_device_is_cuda_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(SettingsError, match="no CUDA device"):
        find_device("cuda")
    with pytest.raises(SettingsError, match="unknown device 'gpu'; available: auto, cpu, cuda"):
        find_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda")
    assert find_device("cpu") == torch.device("cpu")
