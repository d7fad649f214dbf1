"""Luma and chroma against scikit-image and against the join of photographs."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import color, data

from chromaflow.colorize.join import join_levels, lightness_of_levels
from chromaflow.colorize.video.ycbcr import YCbCr, is_colored
from tests.support.clips import Pixels

Planes = tuple[Pixels, Pixels, Pixels]
"""Y', Cb and Cr."""

CODINGS = [YCbCr(6, False), YCbCr(1, False), YCbCr(9, True), YCbCr(5, True)]
SHARES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
PHOTOGRAPH = cv2.resize(data.coffee(), (192, 128), interpolation=cv2.INTER_AREA)


def rgb_of(coding: YCbCr, planes: Planes) -> NDArray[np.float64]:
    """R'G'B', float 0..1, by the formulas of H.273; chroma by nearest neighbor."""
    luma = planes[0].astype(float)
    height, width = luma.shape
    blue_red = [cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in planes[1:]]
    cb, cr = (plane.astype(float) - 128 for plane in blue_red)
    low, span, chroma = (0, 255, 255) if coding.full_range else (16, 219, 224)
    y, kr, kb = (luma - low) / span, *SHARES[coding.matrix]
    red = y + 2 * (1 - kr) * cr / chroma
    blue = y + 2 * (1 - kb) * cb / chroma
    return np.dstack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue]).clip(0, 1)


def planes_of(coding: YCbCr, rgb: Pixels, divisor: int) -> Planes:
    """Y', Cb and Cr of R'G'B' of 8 bits, by the formulas of H.273."""
    kr, kb = SHARES[coding.matrix]
    low, span, chroma = (0, 255, 255) if coding.full_range else (16, 219, 224)
    red, green, blue = np.moveaxis(rgb / 255, 2, 0)
    y = kr * red + (1 - kr - kb) * green + kb * blue
    levels = [y * span + low]
    for part in ((blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)):
        size = rgb.shape[1] // divisor, rgb.shape[0] // divisor
        levels.append(cv2.resize(part * chroma + 128, size, interpolation=cv2.INTER_AREA))
    luma, cb, cr = (plane.round().astype(np.uint8) for plane in levels)
    return luma, cb, cr


def grey_frame(coding: YCbCr) -> Pixels:
    grey = cv2.cvtColor(PHOTOGRAPH, cv2.COLOR_RGB2GRAY)
    return planes_of(coding, np.dstack([grey] * 3), 2)[0]


def lightness_of(coding: YCbCr, luma: Pixels) -> NDArray[np.float32]:
    return lightness_of_levels(np.uint16)[coding.grey_levels()[luma]]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("divisor", [1, 2])
def test_without_color_a_frame_stays_as_it_was(coding: YCbCr, divisor: int) -> None:
    luma = grey_frame(coding)
    ab = np.zeros((2, 32, 48), np.float32)
    planes = coding.color_planes(luma, ab, divisor)
    np.testing.assert_array_equal(planes[0], luma)
    assert planes[1].shape == (128 // divisor, 192 // divisor)
    assert (planes[1] == 128).all()
    assert (planes[2] == 128).all()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_frame_has_the_colors_that_a_photograph_would_have(coding: YCbCr) -> None:
    luma = grey_frame(coding)
    truth = color.rgb2lab(PHOTOGRAPH)[..., 1:].transpose(2, 0, 1)
    ab = np.stack([cv2.GaussianBlur(plane, (0, 0), 4) for plane in truth]).astype(np.float32)
    got = color.rgb2lab(rgb_of(coding, coding.color_planes(luma, ab, 2)))
    joined = join_levels(coding.grey_levels()[luma], ab, np.uint8)
    difference = color.deltaE_ciede2000(got, color.rgb2lab(joined))
    # Chroma has a quarter of the pixels, and every plane 8 bits.
    assert difference.mean() < 0.8
    lightness = np.abs(got[..., 0] - lightness_of(coding, luma))
    assert lightness.mean() < 0.4


@pytest.mark.parametrize("coding", CODINGS)
def test_grey_luma_has_the_lightness_of_the_colors(coding: YCbCr) -> None:
    planes = planes_of(coding, PHOTOGRAPH, 2)
    got = lightness_of(coding, coding.grey_luma(planes))
    truth = color.rgb2lab(rgb_of(coding, planes))[..., 0]
    assert np.abs(got - truth).mean() < 0.5
    # Luma itself is off by far more.
    assert np.abs(lightness_of(coding, planes[0]) - truth).mean() > 1


def test_colors_are_told_from_grey_and_sepia() -> None:
    coding = CODINGS[0]
    grey = cv2.cvtColor(PHOTOGRAPH, cv2.COLOR_RGB2GRAY)
    sepia = (grey[..., None] * np.array([1, 0.8, 0.6])).astype(np.uint8)
    assert is_colored(planes_of(coding, PHOTOGRAPH, 2))
    assert not is_colored(planes_of(coding, sepia, 2))
    assert not is_colored(planes_of(coding, np.dstack([grey] * 3), 2))


def test_noise_in_the_chroma_of_grey_changes_nothing() -> None:
    luma = grey_frame(CODINGS[0])
    noise = np.random.default_rng(0).integers(125, 132, (2, 64, 96), dtype=np.uint8)
    np.testing.assert_array_equal(CODINGS[0].grey_luma((luma, *noise)), luma)
