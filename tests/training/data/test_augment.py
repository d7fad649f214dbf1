import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import AffineTransform
from skimage.transform import warp as skimage_warp

from chromaflow.training.data.augment import source_side, warp, warp_stored

AMOUNTS = [(1.0, 0.0), (1.3, 0.0), (0.8, 0.0), (1.0, 0.3), (1.2, -0.25), (0.7, 0.15)]


def photographs(side: int = 96) -> torch.Tensor:
    tiles = [getattr(skimage.data, name)()[50 : 50 + side, 60 : 60 + side] for name in NAMES]
    return torch.from_numpy(np.stack(tiles))


NAMES = ("astronaut", "chelsea", "coffee")


def by_skimage(image: np.ndarray, zoom: float, shear: float, side: int) -> np.ndarray:
    """The same with scikit-image: a map from places of the result to places of the image."""
    middle, target = (np.array(image.shape[1::-1]) - 1) / 2, (side - 1) / 2
    linear = np.array([[1, shear], [0, 1]]) / zoom
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = middle - linear @ (target, target)
    warped: np.ndarray = skimage_warp(
        image.astype(np.float64),
        AffineTransform(matrix),
        output_shape=(side, side),
        order=1,
        mode="symmetric",
        preserve_range=True,
    )
    return warped


@pytest.mark.parametrize(("zoom", "shear"), AMOUNTS)
@pytest.mark.parametrize("side", [40, 64, 96])
def test_as_scikit_image_warps(zoom: float, shear: float, side: int) -> None:
    images = photographs()
    amounts = torch.tensor([[zoom, shear]] * len(images), dtype=torch.float64)
    planes = images.permute(0, 3, 1, 2).double()
    found = warp(planes, amounts, side).permute(0, 2, 3, 1).numpy()
    for image, result in zip(images.numpy(), found, strict=True):
        np.testing.assert_allclose(result, by_skimage(image, zoom, shear, side), atol=1e-6)


def test_each_image_has_amounts_of_its_own() -> None:
    images = photographs()
    amounts = torch.tensor([[1.2, 0.1], [0.9, 0.0], [1.0, -0.2]])
    together = warp_stored(images, amounts, 48)
    alone = [warp_stored(images[i : i + 1], amounts[i : i + 1], 48)[0] for i in range(3)]
    assert torch.equal(together, torch.stack(alone))


def test_nothing_to_do_cuts_the_middle() -> None:
    images = photographs()
    amounts = torch.tensor([[1.0, 0.0]] * 3)
    assert torch.equal(warp_stored(images, amounts, 64), images[:, 16:80, 16:80])


@settings(deadline=None, max_examples=40)
@given(
    st.floats(0.5, 2), st.floats(-1, 1), st.integers(32, 80), st.integers(32, 80), st.integers(0, 9)
)
def test_results_stay_within_the_range(
    zoom: float, shear: float, height: int, side: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    pixels = torch.from_numpy(random.integers(0, 256, (2, height, 48, 3), np.uint8))
    found = warp_stored(pixels, torch.tensor([[zoom, shear]] * 2), side)
    assert found.shape == (2, side, side, 3)
    assert found.dtype == torch.uint8
    for image, result in zip(pixels, found, strict=True):
        low, high = image.amin((0, 1)), image.amax((0, 1))
        assert (result >= low).all()
        assert (result <= high).all()


def test_flat_colors_stay() -> None:
    pixels = torch.full((1, 64, 64, 3), 0, dtype=torch.uint8) + torch.tensor([200, 17, 255]).byte()
    found = warp_stored(pixels, torch.tensor([[0.6, 0.9]]), 64)
    assert torch.equal(found, pixels)


def test_gradients_flow_to_the_pixels() -> None:
    planes = torch.rand(2, 2, 9, 8, dtype=torch.float64, requires_grad=True)
    amounts = torch.tensor([[1.3, 0.2], [0.8, -0.1]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: warp(p, amounts, 7), planes)


@given(st.integers(32, 256), st.floats(0, 1), st.floats(0, 1))
def test_a_source_fills_its_crop(crop: int, zoom: float, shear: float) -> None:
    side = source_side(crop, zoom, shear, 10_000)
    corner = (crop - 1) / 2
    # The farthest that is looked at, with the smallest zoom and the largest shear.
    assert (corner + shear * corner) * (1 + zoom) <= (side - 1) / 2 + 0.5
    assert source_side(crop, zoom, shear, crop) == crop
    assert source_side(crop, 0, 0, 10_000) == crop
