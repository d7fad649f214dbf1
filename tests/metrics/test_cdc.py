"""Steadiness of color against plain numpy and scipy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from skimage import data

from chromaflow.metrics.cdc import Cdc, cdc, channel_histograms, jensen_shannon
from chromaflow.metrics.warp_error import warp_error, warped

PHOTOGRAPH = data.coffee()[::8, ::8]


def clip(count: int = 9, flicker: float = 0.0) -> torch.Tensor:
    rng = np.random.default_rng(0)
    frames = [np.roll(PHOTOGRAPH, 2 * step, axis=1) for step in range(count)]
    frames = [frame * (1 - flicker * rng.random(3)) for frame in frames]
    return torch.from_numpy(np.stack(frames).astype(np.float32) / 255).permute(0, 3, 1, 2)


def by_scipy(frames: torch.Tensor) -> float:
    levels = (frames.numpy() * 255).round().astype(int)
    shares = np.array(
        [[np.bincount(c.ravel(), minlength=256) / c.size for c in frame] for frame in levels]
    )
    values = []
    for gap in (1, 2, 4):
        pairs = zip(shares[:-gap], shares[gap:], strict=True)
        values.append(
            np.mean([[jensenshannon(*p) ** 2 for p in zip(*pair, strict=True)] for pair in pairs])
        )
    return float(np.mean(values))


def test_cdc_agrees_with_scipy() -> None:
    frames = clip(flicker=0.3)
    assert cdc(frames).item() == pytest.approx(by_scipy(frames), abs=1e-9)


def test_cdc_tells_flicker_from_motion() -> None:
    assert cdc(clip()).item() == pytest.approx(0, abs=1e-12)
    assert 0 < cdc(clip(flicker=0.05)) < cdc(clip(flicker=0.3)) < np.log(2)


@pytest.mark.parametrize("parts", [[9], [1] * 9, [2, 3, 4], [6, 1, 2]])
def test_cdc_in_parts_is_that_of_the_whole(parts: list[int]) -> None:
    frames, metric = clip(flicker=0.3), Cdc()
    for part in frames.split(parts):
        metric.update(part)
    torch.testing.assert_close(metric.compute(), cdc(frames))
    assert len(metric.recent) == 4


def test_cdc_needs_five_frames() -> None:
    with pytest.raises(ValueError, match="at least 5 frames, not 4"):
        cdc(clip(4))
    metric = Cdc()
    metric.update(clip(4))
    assert metric.compute().isnan()


def test_histograms_are_shares() -> None:
    shares = channel_histograms(clip(2))
    assert shares.shape == (2, 3, 256)
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        channel_histograms(torch.zeros(2, 1, 4, 4))


def test_divergence_is_between_zero_and_the_logarithm_of_two() -> None:
    one = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    assert jensen_shannon(one, one).item() == 0
    assert jensen_shannon(one, one.flip(0)).item() == pytest.approx(np.log(2))


def test_every_precision_is_computed_in_single_or_better(
    dtype: torch.dtype, device: torch.device
) -> None:
    frames = clip(flicker=0.3).to(device, dtype)
    flow, visible = torch.full((8, 2, *frames.shape[2:]), 0.5), torch.ones(8, 1, *frames.shape[2:])
    flow, visible = flow.to(device), visible.to(device)
    steadiness, error = cdc(frames), warp_error(frames[1:], frames[:-1], flow, visible)
    assert (steadiness.dtype, steadiness.device.type) == (torch.float64, device.type)
    assert error.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    wide = frames.cpu().double()
    assert steadiness.item() == pytest.approx(cdc(wide).item(), abs=1e-6)
    expected = warp_error(wide[1:], wide[:-1], flow.cpu(), visible.cpu())
    torch.testing.assert_close(error.cpu().double(), expected, rtol=1e-4, atol=1e-6)


def test_warping_follows_the_flow() -> None:
    picture = torch.arange(12.0).reshape(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0] = 1
    expected = torch.tensor([[1.0, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]])
    torch.testing.assert_close(warped(picture, flow)[0, 0], expected)


def test_warp_error_is_of_color_and_not_of_motion() -> None:
    before, after = clip(2)[:1], clip(2)[1:]
    flow = torch.zeros(1, 2, *before.shape[2:])
    flow[:, 0] = -2
    visible = torch.ones(1, 1, *before.shape[2:])
    visible[..., :2] = 0  # came round from the other edge
    assert warp_error(after, before, flow, visible).item() == pytest.approx(0, abs=1e-8)
    faded = after - 0.1
    assert warp_error(faded, before, flow, visible).item() == pytest.approx(0.03, abs=1e-4)
    assert warp_error(faded, before, flow, 0 * visible).item() == 0
