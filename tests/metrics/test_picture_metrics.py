"""Metrics of sRGB pictures against scikit-image and plain numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color, data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from chromaflow.metrics.colorfulness import colorfulness, colorfulness_hasler
from chromaflow.metrics.psnr import psnr
from chromaflow.metrics.saturation import saturation_difference
from chromaflow.metrics.ssim import ssim

PHOTOGRAPHS = [data.astronaut()[:512:4, :512:4], data.coffee()[:256:2, :256:2]]
TRUE = np.stack(PHOTOGRAPHS) / 255
FADED = 0.6 * TRUE + 0.4 * TRUE.mean(axis=-1, keepdims=True)


def tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2)


def test_psnr_agrees_with_scikit_image() -> None:
    expected = [
        peak_signal_noise_ratio(true, faded, data_range=1)
        for true, faded in zip(TRUE, FADED, strict=True)
    ]
    np.testing.assert_allclose(psnr(tensor(FADED), tensor(TRUE)).numpy(), expected, rtol=1e-4)


def test_psnr_of_equal_pictures_is_finite() -> None:
    assert psnr(tensor(TRUE), tensor(TRUE)).tolist() == [100, 100]


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 0.5))
def test_psnr_of_a_constant_error(error: float) -> None:
    pair = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.5 + error)
    assert psnr(*pair).item() == pytest.approx(-20 * np.log10(error), abs=1e-3)


def test_ssim_agrees_with_scikit_image() -> None:
    expected = [
        structural_similarity(
            true,
            faded,
            data_range=1,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for true, faded in zip(TRUE, FADED, strict=True)
    ]
    np.testing.assert_allclose(ssim(tensor(FADED), tensor(TRUE)).numpy(), expected, atol=1e-5)
    single = ssim(tensor(FADED[:1]), tensor(TRUE[:1]))
    assert single.shape == (1,)
    torch.testing.assert_close(ssim(tensor(TRUE), tensor(TRUE)), torch.ones(2))


def test_colorfulness_agrees_with_numpy() -> None:
    for image, got, original in zip(
        TRUE * 255, colorfulness(tensor(TRUE)), colorfulness_hasler(tensor(TRUE)), strict=True
    ):
        red, green, blue = image[..., 0], image[..., 1], image[..., 2]
        signed = red - green, 0.5 * (red + green) - blue
        for value, pair in ((got, [abs(part) for part in signed]), (original, signed)):
            (rg, yb) = pair
            expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
            assert value.item() == pytest.approx(expected, rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1, width=32))
def test_grey_has_no_colorfulness(value: float) -> None:
    grey = torch.full((1, 3, 4, 4), value)
    assert colorfulness(grey).item() == pytest.approx(0, abs=1e-4)
    assert colorfulness_hasler(grey).item() == pytest.approx(0, abs=1e-4)


def test_saturation_difference() -> None:
    faded, true = (
        np.array([color.rgb2hsv(image)[..., 1].sum() for image in images])
        for images in (FADED, TRUE)
    )
    expected = np.abs(faded - true) / true
    got = saturation_difference(tensor(FADED), tensor(TRUE)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_saturation_difference_to_a_grey_truth_is_finite() -> None:
    grey = torch.full((1, 3, 4, 4), 0.5)
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1
    assert saturation_difference(red, grey).item() == pytest.approx(1)
    assert saturation_difference(grey, grey).item() == 0


def test_ssim_needs_room_for_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11, not 10×16"):
        ssim(torch.zeros(1, 3, 10, 16), torch.zeros(1, 3, 10, 16))


@pytest.mark.parametrize("function", [psnr, ssim, saturation_difference])
def test_wrong_input_is_refused(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        function(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 15))
    with pytest.raises(ValueError, match="uint8"):
        function(*(torch.zeros(1, 3, 16, 16, dtype=torch.uint8),) * 2)
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        function(torch.zeros(3, 16, 16), torch.zeros(3, 16, 16))
