"""Every upsampling: constants, strips, and edges."""

import cv2
import numpy as np
import pytest

from chromaflow.colorize.upsampling import UPSAMPLINGS, find_upsampling
from chromaflow.errors import SettingsError

NAMES = sorted(UPSAMPLINGS)


def whole(name: str, ab: np.ndarray, small: np.ndarray, lightness: np.ndarray) -> np.ndarray:
    return UPSAMPLINGS[name](ab, small, *lightness.shape).rows(0, lightness)


@pytest.fixture(scope="module")
def picture() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bright square on dark ground with a color of its own: true ab and L, and small ab."""
    lightness = np.full((96, 120), 30, np.float32)
    ab = np.zeros((2, 96, 120), np.float32)
    lightness[21:69, 31:83], ab[0, 21:69, 31:83] = 75, 50
    small = np.stack([cv2.resize(p, (30, 24), interpolation=cv2.INTER_AREA) for p in ab])
    return ab, lightness, small


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (301, 8), (64, 48)])
def test_one_color_stays_one_color(name: str, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    ab = np.broadcast_to(np.array([[[12]], [[-7]]], np.float32), (2, 8, 9)).copy()
    small = random.uniform(0, 100, (8, 9)).astype(np.float32)
    lightness = random.uniform(0, 100, shape).astype(np.float32)
    color = whole(name, ab, small, lightness)
    assert color.shape == (2, *shape)
    np.testing.assert_allclose(color[0], 12, atol=1e-2)
    np.testing.assert_allclose(color[1], -7, atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_strips_are_rows_of_the_whole(name: str, picture: tuple[np.ndarray, ...]) -> None:
    _, lightness, small = picture
    dark = cv2.resize(lightness, (30, 24), interpolation=cv2.INTER_AREA)
    upsampling = UPSAMPLINGS[name](small, dark, 96, 120)
    strips = [upsampling.rows(top, lightness[top : top + 25]) for top in range(0, 96, 25)]
    expected = upsampling.rows(0, lightness)
    np.testing.assert_allclose(np.concatenate(strips, axis=1), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["guided", "joint_bilateral"])
def test_color_keeps_to_the_edges_of_the_photograph(
    name: str, picture: tuple[np.ndarray, ...]
) -> None:
    ab, lightness, small = picture
    dark = cv2.resize(lightness, (30, 24), interpolation=cv2.INTER_AREA)
    errors = {
        n: np.square(whole(n, small, dark, lightness) - ab).mean() for n in (name, "bilinear")
    }
    assert errors[name] < 0.5 * errors["bilinear"]


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(SettingsError, match="available: bilinear, guided, joint_bilateral"):
        find_upsampling("cubic")
