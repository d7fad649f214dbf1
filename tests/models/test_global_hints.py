import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import lab2rgb, rgb2hsv, rgb2lab
from skimage.transform import resize
from torch import Tensor

from chromaflow.color.codebooks.grid import BINS
from chromaflow.models.global_hints import color_histogram, global_hints


@pytest.fixture(scope="module")
def lab() -> Tensor:
    names = ("astronaut", "coffee", "chelsea", "rocket")
    images = [resize(getattr(skimage.data, n)(), (64, 48), anti_aliasing=True) for n in names]
    return torch.from_numpy(np.stack([rgb2lab(i).transpose(2, 0, 1) for i in images])).float()


def test_global_hints_agree_with_numpy(lab: Tensor) -> None:
    told = global_hints(lab[:, :1], lab[:, 1:])
    centers = np.array(BINS, dtype=float)
    for image, row in zip(lab.double().numpy(), told.numpy(), strict=True):
        quarter = image[1:].reshape(2, 16, 4, 12, 4).mean(axis=(2, 4)).reshape(2, -1).T
        squares = ((np.round(quarter)[:, None] - centers) ** 2).sum(axis=2)
        shares = np.bincount(squares.argmin(axis=1), minlength=313) / len(quarter)
        assert np.abs(shares - row[:313]).sum() < 0.02
        saturation = rgb2hsv(lab2rgb(image.transpose(1, 2, 0)))[..., 1].mean()
        # Of nearly black pixels saturation is hardly told.
        assert row[314] == pytest.approx(saturation, abs=0.01)
        assert (row[313], row[315]) == (1, 1)


def test_a_histogram_of_one_color_is_one_bin() -> None:
    shares = color_histogram(torch.tensor([20.0, -30.0])[None, :, None, None].expand(2, 2, 3, 5))
    assert (shares[:, BINS.index((20, -30))] == 1).all()
    assert (shares.sum(dim=1) == 1).all()
