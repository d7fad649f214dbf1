"""Lab against scikit-image over the whole cube, its gradients, and its way back."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color, data

from chromaflow.color.lab import join, lab_to_rgb, rgb_to_lab
from tests.support.layers import gradient


def cube(steps: int) -> np.ndarray:
    axis = np.linspace(0, 1, steps)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(steps, -1, 3)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32)).movedim(-1, -3)


@pytest.mark.parametrize("steps", [52, 64])
def test_rgb_to_lab_agrees_with_scikit_image(steps: int) -> None:
    rgb = cube(steps)
    got = rgb_to_lab(to_tensor(rgb)).movedim(-3, -1).numpy()
    assert np.abs(got - color.rgb2lab(rgb)).max() < 1e-3


@pytest.mark.parametrize("steps", [52, 64])
def test_lab_to_rgb_agrees_with_scikit_image(steps: int) -> None:
    rgb = cube(steps)
    got = lab_to_rgb(to_tensor(color.rgb2lab(rgb))).movedim(-3, -1).numpy()
    assert np.abs(got - rgb).max() < 1e-3


def test_every_precision_is_computed_in_single_or_better(
    dtype: torch.dtype, device: torch.device
) -> None:
    rgb = to_tensor(cube(9)).to(device, dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    bound = 1e-9 if dtype == torch.float64 else 1e-3
    lab = rgb_to_lab(rgb)
    assert lab.dtype == wide
    assert lab.device.type == device.type
    # What scikit-image makes of the same rounded numbers.
    shown = rgb.double().cpu().movedim(-3, -1).numpy()
    assert np.abs(lab.cpu().movedim(-3, -1).numpy() - color.rgb2lab(shown)).max() < bound
    back = lab_to_rgb(lab.to(dtype))
    assert back.dtype == wide
    rounded = lab.to(dtype).double().cpu().movedim(-3, -1).numpy()
    with warnings.catch_warnings():
        # Rounding leads out of the gamut, and scikit-image says so.
        warnings.simplefilter("ignore")
        expected = color.lab2rgb(rounded)
    assert np.abs(back.cpu().movedim(-3, -1).numpy() - expected).max() < bound


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_lab_to_rgb_clips_as_scikit_image_does() -> None:
    lightness, a, b = np.meshgrid(
        np.linspace(0, 100, 9), np.linspace(-110, 110, 23), np.linspace(-110, 110, 23)
    )
    lab = np.stack((lightness, a, b), axis=-1).reshape(9, -1, 3)
    got = lab_to_rgb(to_tensor(lab))
    assert got.min() == 0
    assert got.max() == 1
    assert np.abs(got.movedim(-3, -1).numpy() - color.lab2rgb(lab)).max() < 1e-3


def test_a_photograph_agrees_with_scikit_image() -> None:
    photograph = data.astronaut()[::4, ::4] / 255
    got = rgb_to_lab(to_tensor(photograph)[None])[0].movedim(0, -1).numpy()
    assert np.abs(got - color.rgb2lab(photograph)).max() < 1e-3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3))
def test_round_trip(values: list[float]) -> None:
    rgb = torch.tensor(values).reshape(3, 1, 1)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=1e-4, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1, width=32))
def test_grey_has_no_color(value: float) -> None:
    lab = rgb_to_lab(torch.full((3, 1, 1), value))
    assert lab[1:].abs().max() < 0.02


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7), (2, 4, 3, 5, 7), (0, 3, 5, 7)])
def test_the_shape_is_kept(shape: tuple[int, ...]) -> None:
    lab = rgb_to_lab(torch.full(shape, 0.5))
    assert lab.shape == shape
    assert lab_to_rgb(lab).shape == shape


def test_memory_layout_changes_nothing() -> None:
    rgb = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    last = rgb.contiguous(memory_format=torch.channels_last)
    assert torch.equal(rgb_to_lab(rgb), rgb_to_lab(last))
    assert torch.equal(lab_to_rgb(rgb_to_lab(rgb)), lab_to_rgb(rgb_to_lab(last)))


@pytest.mark.parametrize("convert", [rgb_to_lab, lab_to_rgb])
def test_wrong_input_is_refused(convert: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"3, H, W.*\(4, 2, 2\)"):
        convert(torch.zeros(4, 2, 2))
    with pytest.raises(ValueError, match="3, H, W"):
        convert(torch.zeros(3, 2))
    with pytest.raises(TypeError, match="uint8"):
        convert(torch.zeros(3, 2, 2, dtype=torch.uint8))


def test_gradients_agree_with_finite_differences() -> None:
    inside = torch.from_numpy(cube(4) * 0.9 + 0.05).movedim(-1, -3).double()
    assert torch.autograd.gradcheck(rgb_to_lab, inside.clone().requires_grad_())
    lab = rgb_to_lab(inside)
    assert torch.autograd.gradcheck(lab_to_rgb, lab.clone().requires_grad_())


@pytest.mark.parametrize("convert", [rgb_to_lab, lambda rgb: lab_to_rgb(rgb_to_lab(rgb))])
def test_gradients_are_finite_in_the_whole_cube(
    convert: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    rgb = to_tensor(cube(18)).requires_grad_()
    convert(rgb).sum().backward()
    assert torch.isfinite(gradient(rgb)).all()


def test_gradients_are_finite_outside_the_gamut() -> None:
    lab = torch.tensor([[0.0, 0, 0], [0, -110, 110], [100, 110, -110], [0, 100, 100]])
    lab = lab.T.reshape(3, 2, 2).clone().requires_grad_()
    lab_to_rgb(lab).sum().backward()
    assert torch.isfinite(gradient(lab)).all()


def test_join() -> None:
    lab = join(torch.ones(2, 1, 4, 5), torch.zeros(2, 2, 4, 5))
    assert lab.shape == (2, 3, 4, 5)
    assert lab[:, 0].eq(1).all()
    assert lab[:, 1:].eq(0).all()
