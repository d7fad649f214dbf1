import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from chromaflow.color.lab import lab_to_rgb, rgb_to_lab
from chromaflow.colorize.join import Levels, grey_of_rgb, highest, join_levels, lightness_of_levels


def _lightness(levels: Levels) -> NDArray[np.float64]:
    rgb = levels / highest(levels.dtype)
    lab: NDArray[np.float64] = rgb2lab(rgb if rgb.ndim == 3 else np.dstack([rgb] * 3))
    return lab[..., 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_no_color_gives_the_very_same_grey_at_every_level(
    dtype: type[np.uint8 | np.uint16],
) -> None:
    grey = np.arange(highest(dtype) + 1, dtype=dtype)[None]
    rgb = join_levels(grey, np.zeros((2, *grey.shape), np.float32), dtype)
    assert rgb.dtype == dtype
    np.testing.assert_array_equal(rgb, np.dstack([grey] * 3))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lightness_of_levels_is_that_of_scikit_image(dtype: type[np.uint8 | np.uint16]) -> None:
    grey = np.arange(highest(dtype) + 1, dtype=dtype)[None]
    lightness = lightness_of_levels(grey.dtype)
    np.testing.assert_allclose(lightness, _lightness(grey)[0], atol=1e-2)


def test_grey_of_rgb_keeps_lightness_and_grey_itself() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    np.testing.assert_allclose(_lightness(grey_of_rgb(rgb)), _lightness(rgb), atol=1e-2)
    neutral = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(grey_of_rgb(neutral), neutral[..., 0].astype(np.uint16) * 257)
    deep = np.repeat(np.arange(65536, dtype=np.uint16)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(grey_of_rgb(deep), deep[..., 0])


def test_colors_of_srgb_are_those_of_scikit_image_and_of_the_color_part() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    lab = rgb2lab(rgb)
    ab = lab[..., 1:].transpose(2, 0, 1).astype(np.float32)
    joined = join_levels(grey_of_rgb(rgb), ab, np.uint16) / 65535
    ours = lab_to_rgb(rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1) / 255))
    for other in (lab2rgb(lab), ours.permute(1, 2, 0).numpy()):
        difference = np.abs(joined - other)
        assert difference.max() < 1e-2  # where rounding puts a color just outside sRGB
        assert np.quantile(difference, 0.999) < 3e-4


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    strength=st.sampled_from([5.0, 30.0, 110.0, 500.0]),
    deep=st.booleans(),
)
def test_lightness_stays_for_any_color_even_one_outside_srgb(
    seed: int, strength: float, deep: bool
) -> None:
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, (17, 23), dtype=np.uint8)
    ab = rng.uniform(-strength, strength, (2, 17, 23)).astype(np.float32)
    dtype = np.uint16 if deep else np.uint8
    change = np.abs(_lightness(join_levels(grey, ab, dtype)) - _lightness(grey))
    assert change.max() <= (0.02 if deep else 0.3)


def test_a_color_outside_srgb_keeps_its_hue_and_as_much_chroma_as_there_is() -> None:
    grey = np.full((1, 3), 128, np.uint8)
    ab = np.array([[[150, -150, 0]], [[0, 150, 200]]], np.float32)
    lab = rgb2lab(join_levels(grey, ab, np.uint16) / 65535)[0]
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
    np.testing.assert_allclose(hue, np.degrees(np.arctan2(ab[1, 0], ab[0, 0])), atol=0.1)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    more = lab2rgb(np.array([[[lab[0, 0], *(1.02 * lab[i, 1:])] for i in range(3)]]))
    assert (np.hypot(*rgb2lab(more)[0, :, 1:].T) < 1.02 * chroma).all()  # clipped: no room was left
    assert (chroma > 30).all()
