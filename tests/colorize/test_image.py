import cv2
import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import lab2rgb, rgb2gray, rgb2lab

from chromaflow.colorize.image import colored_strips, colorize_array, predict_small
from chromaflow.errors import ModelError, SettingsError


def _cat():
    return (rgb2gray(data.chelsea()) * 255).round().astype(np.uint8)


def test_a_photograph_is_what_the_whole_image_join_of_scikit_image_gives(tint):
    grey = _cat()
    lightness = rgb2lab(np.dstack([grey] * 3))[..., 0]
    small = predict_small(tint, grey, 64)
    ab = cv2.resize(small.transpose(1, 2, 0), grey.shape[::-1])
    expected = lab2rgb(np.dstack([lightness, ab]))
    inside = ((expected > 0.01) & (expected < 0.99)).all(axis=2)
    assert inside.mean() > 0.5
    rgb = colorize_array(tint, grey, size=64)
    assert np.abs(rgb / 255 - expected)[inside].max() < 0.6 / 255


def test_strips_join_without_a_seam(tint, monkeypatch):
    grey = _cat()
    whole = colorize_array(tint, grey, size=64)
    monkeypatch.setattr("chromaflow.colorize.image._STRIP_PIXELS", 7 * grey.shape[1])
    strips = list(colored_strips(tint, grey, size=64, dtype=np.uint8))
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
def test_every_size_is_seen_whole_and_given_back(tint, colorless, shape, seen, dtype):
    top = int(np.iinfo(dtype).max)
    grey = np.random.default_rng(3).integers(0, top, shape, endpoint=True).astype(dtype)
    rgb = colorize_array(tint, grey, size=64)
    assert rgb.shape == (*shape, 3)
    assert rgb.dtype == dtype
    assert tint.shapes == [(1, 1, *seen)]
    np.testing.assert_array_equal(colorize_array(colorless, grey, size=64), np.dstack([grey] * 3))


def test_a_module_on_a_device_in_half_precision_is_a_model_too():
    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def predict_ab(self, lightness):
            assert lightness.device == self.weight.device
            return (torch.cat((lightness, -lightness), dim=1) * self.weight / 10).bfloat16()

    rgb = colorize_array(Half(), np.full((40, 40), 128, np.uint8), size=32)
    assert rgb[..., 0].min() > 128 > rgb[..., 1].max()


def test_what_cannot_be_colored_is_refused_by_name(tint):
    with pytest.raises(ValueError, match="at least one pixel"):
        colorize_array(tint, np.zeros((0, 4), np.uint8))
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        colorize_array(tint, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(TypeError, match="float64"):
        colorize_array(tint, np.zeros((4, 4)))
    with pytest.raises(SettingsError, match="size = 31"):
        colorize_array(tint, np.zeros((4, 4), np.uint8), size=31)
    tint.strength = float("nan")
    with pytest.raises(ModelError, match="not numbers"):
        colorize_array(tint, np.zeros((4, 4), np.uint8))
