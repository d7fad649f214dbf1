"""The conversions to Lab share their constants; where they differ on purpose, by how much."""

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import rgb2lab

from chromaflow.color.constants import WHITE, XYZ_FROM_RGB, linear_from_srgb
from chromaflow.color.lab import rgb_to_lab
from chromaflow.colorize.join import join_levels, lightness_of_levels
from chromaflow.data.store.decode import to_stored_lab


def test_linear_light_is_that_of_the_standard() -> None:
    levels = np.arange(256) / 255
    expected = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in levels]
    np.testing.assert_array_equal(linear_from_srgb(levels), expected)


def test_the_white_is_the_sum_of_the_rows() -> None:
    np.testing.assert_allclose(np.sum(XYZ_FROM_RGB, axis=1), WHITE, rtol=0, atol=8e-5)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_training_coloring_and_scikit_image_see_one_lab(name: str) -> None:
    photograph = getattr(data, name)()[::3, ::3]
    expected = rgb2lab(photograph)
    rgb = torch.from_numpy(photograph).permute(2, 0, 1) / 255
    exact = rgb_to_lab(rgb).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(exact, expected, atol=2e-3)
    # Stored with 8 bits a channel: half a step of rounding, and a little of the table.
    stored = to_stored_lab(np.ascontiguousarray(photograph[..., ::-1]), None).astype(float)
    steps = stored / [2.55, 1, 1] - [0, 128, 128] - expected
    assert np.abs(steps).max(axis=(0, 1)) == pytest.approx([0.2, 0.5, 0.5], abs=0.02)


def test_grey_has_one_lightness_and_no_color() -> None:
    grey = np.arange(256, dtype=np.uint8)[None]
    rgb = torch.from_numpy(np.repeat(grey[None], 3, axis=0)).float() / 255
    exact = rgb_to_lab(rgb).numpy()
    np.testing.assert_allclose(lightness_of_levels(np.uint8), exact[0, 0], atol=1e-3)
    # The rounded white leaves this much color in what is neutral; coloring sums the rows instead.
    assert 1e-4 < np.abs(exact[1:]).max() < 0.01
    neutral = join_levels(grey, np.zeros((2, 1, 256), np.float32), np.uint8)
    np.testing.assert_array_equal(neutral, np.repeat(grey[..., None], 3, axis=2))
