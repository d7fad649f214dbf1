import math

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab
from skimage.feature import daisy

from chromaflow.models.networks.parts.daisy import Daisy


def _grey(name: str, height: int, width: int) -> torch.Tensor:
    image = getattr(skimage.data, name)()[40 : 40 + height, 60 : 60 + width]
    return torch.from_numpy(rgb2lab(image)[..., 0] / 100).float()[None, None]


@pytest.mark.parametrize(
    ("name", "height", "width"), [("astronaut", 96, 128), ("coffee", 33, 32), ("rocket", 64, 47)]
)
def test_is_that_of_scikit_image(name: str, height: int, width: int) -> None:
    grey = _grey(name, height, width)
    expected = daisy(
        grey[0, 0].numpy(),
        step=1,
        radius=15,
        rings=1,
        histograms=3,
        orientations=8,
        normalization="daisy",
    )
    given = Daisy()(grey)[0].permute(1, 2, 0).numpy()
    assert given.shape == (height, width, 32)
    np.testing.assert_allclose(given[15:-15, 15:-15], expected, atol=1e-5)


@settings(max_examples=20)
@given(st.floats(0.2, 2.0), st.floats(-0.5, 0.5))
def test_brightness_and_contrast_do_not_matter(contrast: float, brightness: float) -> None:
    grey = _grey("chelsea", 40, 48)
    described = Daisy()
    torch.testing.assert_close(
        described(contrast * grey + brightness), described(grey), atol=1e-3, rtol=0
    )


def test_nothing_to_see_has_no_orientation() -> None:
    described = Daisy()(torch.full((1, 1, 32, 32), 0.4))
    torch.testing.assert_close(described, torch.full((1, 32, 32, 32), 1 / math.sqrt(8)))


def test_its_tables_are_no_weights() -> None:
    assert not Daisy().state_dict()
