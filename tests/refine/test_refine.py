"""Every refinement: laws, independent definitions, and what it does to real photographs."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data
from skimage.color import rgb2lab
from skimage.restoration import denoise_tv_chambolle
from skimage.segmentation import slic
from skimage.transform import resize
from torch import Tensor

from chromaflow.refine import REFINEMENTS, crf, guided, joint_bilateral, refine

NAMES = [name for name in REFINEMENTS if name != "none"]


@pytest.fixture(scope="module")
def photographs() -> tuple[Tensor, Tensor]:
    """Lightness (2, 1, 64, 80) and ab (2, 2, 64, 80)."""
    images = [
        resize(image, (64, 80), anti_aliasing=True) for image in (data.coffee(), data.chelsea())
    ]
    lab = torch.from_numpy(np.stack([rgb2lab(image) for image in images])).float()
    planes = lab.permute(0, 3, 1, 2).contiguous()
    return planes[:, :1], planes[:, 1:]


def error(ab: Tensor, true: Tensor) -> float:
    return float((ab - true).norm(dim=1).mean())


def test_none_gives_the_color_back(photographs: tuple[Tensor, Tensor]) -> None:
    assert refine("none", *photographs) is photographs[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_color_that_is_everywhere_the_same_stays(
    name: str, photographs: tuple[Tensor, Tensor]
) -> None:
    lightness, ab = photographs
    same = torch.tensor([12.0, -7.0])[None, :, None, None].expand_as(ab).contiguous()
    refined = refine(name, lightness, same)
    assert refined.shape == ab.shape
    assert refined.dtype == torch.float32
    torch.testing.assert_close(refined, same, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_batch_do_not_meet(name: str, photographs: tuple[Tensor, Tensor]) -> None:
    lightness, ab = photographs
    alone = refine(name, lightness[1:], ab[1:])
    torch.testing.assert_close(refine(name, lightness, ab)[1:], alone, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "crf"])
def test_noise_of_color_is_lessened(name: str, photographs: tuple[Tensor, Tensor]) -> None:
    lightness, ab = photographs
    noisy = ab + 8 * torch.randn(ab.shape, generator=torch.manual_seed(0))
    assert error(refine(name, lightness, noisy), ab) < 0.9 * error(noisy, ab)


@pytest.mark.parametrize("name", ["guided", "joint_bilateral"])
def test_color_that_bleeds_comes_back_to_the_edges(name: str) -> None:
    # A bright square with a color of its own, whose color was predicted at a quarter.
    lightness, ab = torch.full((1, 1, 64, 64), 30.0), torch.zeros(1, 2, 64, 64)
    lightness[..., 18:47, 21:45], ab[:, 0, 18:47, 21:45] = 75.0, 50.0
    bled = F.interpolate(F.avg_pool2d(ab, 4), scale_factor=4.0, mode="bilinear")
    before, after = (x.sub(ab).square().mean() for x in (bled, refine(name, lightness, bled)))
    assert after < 0.6 * before


def test_the_field_overrules_pixels_that_differ_from_all_like_them() -> None:
    lightness, ab = torch.full((1, 1, 24, 24), 50.0), torch.zeros(1, 2, 24, 24)
    lightness[..., 12:], ab[:, 0, :, 12:] = 70.0, 40.0
    spoiled, places = ab.clone(), torch.rand(24, 24, generator=torch.manual_seed(0)) < 0.1
    spoiled[0, 1, places] = 40.0
    assert error(refine("crf", lightness, spoiled), ab) < 0.1 * error(spoiled, ab)


def test_the_guided_filter_follows_its_equations(photographs: tuple[Tensor, Tensor]) -> None:
    lightness, ab = photographs[0][:1, :, :12, :10], photographs[1][:1, :, :12, :10]
    radius, smoothing = 2, 4.0
    slope, offset = np.zeros((2, 12, 10)), np.zeros((2, 12, 10))
    guide, color = lightness[0, 0].double().numpy(), ab[0].double().numpy()

    def window(plane: np.ndarray, y: int, x: int) -> np.ndarray:
        return plane[..., max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]

    for y in range(12):
        for x in range(10):
            near = window(guide, y, x)
            for c in range(2):
                target = window(color[c], y, x)
                covariance = (near * target).mean() - near.mean() * target.mean()
                slope[c, y, x] = covariance / (near.var() + smoothing)
                offset[c, y, x] = target.mean() - slope[c, y, x] * near.mean()
    expected = np.zeros((2, 12, 10))
    for y in range(12):
        for x in range(10):
            means = window(slope, y, x).mean((1, 2)), window(offset, y, x).mean((1, 2))
            expected[:, y, x] = means[0] * guide[y, x] + means[1]
    got = guided.coefficients(lightness, ab, radius, smoothing)
    np.testing.assert_allclose((got[0] * lightness + got[1])[0].numpy(), expected, atol=1e-3)


def test_the_joint_bilateral_filter_follows_its_definition(
    photographs: tuple[Tensor, Tensor],
) -> None:
    lightness, ab = photographs[0][:1, :, :9, :11], photographs[1][:1, :, :9, :11]
    guide, color = lightness[0, 0].double().numpy(), ab[0].double().numpy()
    got = joint_bilateral.refine(lightness, ab)[0].numpy()
    y, x = np.mgrid[:9, :11]
    for row, column in [(0, 0), (4, 5), (8, 3)]:
        inside = np.maximum(abs(y - row), abs(x - column)) <= joint_bilateral.RADIUS
        squares = (y - row) ** 2 + (x - column) ** 2
        unlike = (guide - guide[row, column]) ** 2
        weight = inside * np.exp(
            -squares / (2 * joint_bilateral.SIGMA_SPACE**2)
            - unlike / (2 * joint_bilateral.SIGMA_LIGHTNESS**2)
        )
        expected = (weight * color).sum((1, 2)) / weight.sum()
        np.testing.assert_allclose(got[:, row, column], expected, atol=1e-3)


def test_segments_have_one_color_each_and_keep_the_mean(photographs: tuple[Tensor, Tensor]) -> None:
    lightness, ab = photographs
    refined = refine("superpixels", lightness, ab)
    labels = slic(lightness[0, 0].numpy() / 100, 51, 0.1, channel_axis=None, start_label=0)
    for label in np.unique(labels):
        inside = torch.from_numpy(labels == label)
        colors = refined[0][:, inside]
        assert colors.std(dim=1).max() < 1e-4
        torch.testing.assert_close(colors[:, 0], ab[0][:, inside].mean(1), atol=1e-3, rtol=1e-4)


def test_total_variation_is_that_of_the_library(photographs: tuple[Tensor, Tensor]) -> None:
    lightness, ab = photographs
    expected = denoise_tv_chambolle(ab[0].double().numpy(), 4.0, channel_axis=0)
    np.testing.assert_allclose(refine("total_variation", lightness, ab)[0], expected, atol=0.05)


def test_mean_field_follows_its_equations(photographs: tuple[Tensor, Tensor]) -> None:
    lightness, ab = photographs[0][0, :, :5, :6], photographs[1][0, :, :5, :6]
    from chromaflow.color.codebooks.grid import BINS

    colors, centers = ab.flatten(1).T.double().numpy(), np.array(BINS, float)
    distance = ((colors[:, None] - centers) ** 2).sum(-1)
    used = np.unique(distance.argmin(1))
    unary = -distance[:, used] / (2 * crf.SIGMA_COLOR**2)
    y, x = np.mgrid[:5, :6].reshape(2, -1)
    grey = lightness.flatten().double().numpy()
    kernel = np.zeros((30, 30))
    for i in range(30):
        for j in range(30):
            square = ((y[i] - y[j]) ** 2 + (x[i] - x[j]) ** 2) / crf.SIGMA_SPACE**2
            square += (grey[i] - grey[j]) ** 2 / crf.SIGMA_LIGHTNESS**2
            kernel[i, j] = 0 if i == j else np.exp(-0.5 * square)
    kernel /= kernel.sum(1, keepdims=True)

    def softmax(scores: np.ndarray) -> np.ndarray:
        powers = np.exp(scores - scores.max(1, keepdims=True))
        shares: np.ndarray = powers / powers.sum(1, keepdims=True)
        return shares

    shares = softmax(unary)
    for _ in range(crf.STEPS):
        shares = softmax(unary + crf.STRENGTH * kernel @ shares)
    found = used[shares.argmax(1)]
    kept = (found == distance.argmin(1))[:, None]
    assert not kept.all()
    expected = np.where(kept, colors, centers[found])
    got = crf.mean_field(lightness, ab).flatten(1).T.numpy()
    np.testing.assert_allclose(got, expected, atol=1e-2)


def test_a_large_picture_is_reduced_for_the_field() -> None:
    lightness = torch.rand(1, 1, 90, 120, generator=torch.manual_seed(0)) * 100
    ab = torch.zeros(1, 2, 90, 120)
    assert refine("crf", lightness, ab).shape == ab.shape
