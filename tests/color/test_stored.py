"""The stored bytes against OpenCV and scikit-image."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from skimage import color, data

from chromaflow.color.stored import ab_histogram, decode_stored, encode_stored


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.uint8, (1, 3, 4, 3)))
def test_decoding_and_encoding_again_gives_the_same_bytes(pixels: NDArray[np.uint8]) -> None:
    lightness, ab = decode_stored(torch.from_numpy(pixels))
    lab = torch.cat((lightness, ab), dim=1).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(encode_stored(lab), pixels)


def test_units(device: torch.device) -> None:
    pixels = torch.tensor([[0, 128, 128], [255, 0, 255]], dtype=torch.uint8).reshape(1, 1, 2, 3)
    lightness, ab = decode_stored(pixels.to(device))
    assert lightness.device.type == ab.device.type == device.type
    assert lightness.shape == (1, 1, 1, 2)
    assert ab.shape == (1, 2, 1, 2)
    assert lightness.dtype == ab.dtype == torch.float32
    assert lightness.flatten().tolist() == [0, 100]
    assert ab[0, :, 0].T.tolist() == [[0, 0], [-128, 127]]


def test_opencv_gives_nearly_the_same_bytes() -> None:
    photograph = data.coffee()[::2, ::2]
    ours = encode_stored(color.rgb2lab(photograph)).astype(int)
    theirs = cv2.cvtColor(photograph, cv2.COLOR_RGB2LAB).astype(int)
    assert np.abs(ours - theirs).max() <= 2
    assert np.abs(ours - theirs).mean() < 0.3


def test_the_rounding_stays_under_a_visible_step() -> None:
    lab = color.rgb2lab(data.astronaut()[::2, ::2])
    lightness, ab = decode_stored(torch.from_numpy(encode_stored(lab))[None])
    stored = torch.cat((lightness, ab), dim=1)[0].permute(1, 2, 0).numpy()
    assert color.deltaE_cie76(lab, stored).mean() < 0.6


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_encoding_clips(kind: type[np.floating]) -> None:
    lab = np.array([[[150.0, 500, -500], [-5, -500, 500]]], kind)
    assert encode_stored(lab).tolist() == [[[255, 255, 0], [0, 0, 255]]]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        decode_stored(torch.zeros(1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"\(4, 4, 3\)"):
        decode_stored(torch.zeros(4, 4, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="H, W, 3"):
        encode_stored(np.zeros((4, 4, 2)))


def test_histogram_counts_every_pixel_at_its_color() -> None:
    pixels = encode_stored(color.rgb2lab(data.chelsea()[::3, ::3]))
    expected = np.zeros((256, 256), np.int64)
    np.add.at(expected, (pixels[..., 1], pixels[..., 2]), 1)
    counted = ab_histogram(pixels)
    assert counted.dtype == np.int64
    assert np.array_equal(counted, expected)
