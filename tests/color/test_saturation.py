import numpy as np
import torch
from skimage import data
from skimage.color import rgb2hsv

from chromaflow.color.saturation import saturation


def test_it_agrees_with_scikit_image() -> None:
    photographs = np.stack([data.coffee()[:64, :96], data.chelsea()[:64, :96]]) / 255
    given = saturation(torch.from_numpy(photographs.transpose(0, 3, 1, 2)).float())
    np.testing.assert_allclose(given.numpy(), rgb2hsv(photographs)[..., 1], atol=1e-5)


def test_black_has_none() -> None:
    assert saturation(torch.zeros(1, 3, 2, 2)).eq(0).all()
