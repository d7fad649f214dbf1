"""The paired bootstrap against theory, and its laws."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chromaflow.evaluation import bootstrap
from chromaflow.evaluation.bootstrap import compare, paired_bootstrap
from chromaflow.evaluation.measurements import Measurements

ONES = np.ones(200)
GAINS = np.random.default_rng(0).normal(0.1, 1, 200)


def measurements(values: np.ndarray, metric: str, weights: np.ndarray) -> Measurements:
    ids = tuple(f"{index:03d}" for index in range(len(values)))
    return Measurements(ids, {metric: values}, weights)


def test_interval_agrees_with_scipy() -> None:
    gain = paired_bootstrap(GAINS, ONES, resamples=20_000)
    reference = stats.bootstrap(
        (GAINS,), np.mean, n_resamples=20_000, method="percentile", rng=1, batch=1000
    )
    assert gain.mean == pytest.approx(GAINS.mean())
    assert gain.low == pytest.approx(reference.confidence_interval.low, abs=0.01)
    assert gain.high == pytest.approx(reference.confidence_interval.high, abs=0.01)
    assert gain.share == pytest.approx((reference.bootstrap_distribution > 0).mean(), abs=0.01)
    assert (gain.images, gain.resamples) == (200, 20_000)


def test_weights_weigh_images() -> None:
    weights = np.where(np.arange(200) < 100, 1.0, 3.0)
    gain = paired_bootstrap(GAINS, weights, resamples=20_000)

    def ratio(gains: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
        weighed: np.ndarray = (gains * weights).sum(axis) / weights.sum(axis)
        return weighed

    reference = stats.bootstrap(
        (GAINS, weights),
        ratio,
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=2,
        vectorized=True,
        batch=1000,
    )
    assert gain.mean == pytest.approx(np.average(GAINS, weights=weights))
    assert gain.low == pytest.approx(reference.confidence_interval.low, abs=0.015)
    assert gain.high == pytest.approx(reference.confidence_interval.high, abs=0.015)


def test_the_same_seed_gives_the_same_result() -> None:
    assert paired_bootstrap(GAINS, ONES) == paired_bootstrap(GAINS, ONES)
    assert paired_bootstrap(GAINS, ONES) != paired_bootstrap(GAINS, ONES, seed=18)


def test_small_blocks_cover_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_BLOCK", 3 * 200)
    gain = paired_bootstrap(GAINS + 100, ONES, resamples=100)
    assert gain.share == 1
    assert 99 < gain.low < gain.high < 101


def test_equal_models_have_no_gain() -> None:
    gain = paired_bootstrap(np.zeros(50), np.ones(50))
    assert (gain.mean, gain.low, gain.high, gain.share) == (0, 0, 0, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.floats(0.1, 10))
def test_laws(values: list[float], factor: float) -> None:
    gains = np.array(values)
    gain = paired_bootstrap(gains, np.ones(len(gains)), resamples=200)
    assert gains.min() - 1e-9 <= gain.low <= gain.high <= gains.max() + 1e-9
    assert 0 <= gain.share <= 1
    scaled = paired_bootstrap(gains, np.full(len(gains), factor), resamples=200)
    assert scaled.mean == pytest.approx(gain.mean, abs=1e-6)


@pytest.mark.parametrize(("metric", "sign"), [("psnr", 1), ("delta_e_2000", -1)])
def test_positive_is_better_for_every_metric(metric: str, sign: int) -> None:
    champion = measurements(np.linspace(20, 30, 50), metric, np.ones(50))
    candidate = measurements(champion.values[metric] + 1, metric, np.ones(50))
    gain = compare(candidate, champion, metric, resamples=200)
    assert gain.mean == pytest.approx(sign)
    assert gain.share == (sign > 0)


def test_weights_count_for_the_rebalanced_metric_alone() -> None:
    weights = np.array([1.0, 9.0])
    for metric, expected in (("auc_rebalanced", 0.9), ("auc", 0.5)):
        champion = measurements(np.zeros(2), metric, weights)
        candidate = measurements(np.array([0.0, 1.0]), metric, weights)
        assert compare(candidate, champion, metric, resamples=100).mean == pytest.approx(expected)
        assert candidate.mean(metric) == pytest.approx(expected)


def test_other_images_or_metrics_are_refused() -> None:
    champion = measurements(np.zeros(3), "psnr", np.ones(3))
    other = dataclasses.replace(champion, ids=("a", "b", "c"))
    with pytest.raises(ValueError, match="same images"):
        compare(other, champion, "psnr")
    with pytest.raises(ValueError, match="colorfulness cannot be ranked"):
        compare(champion, champion, "colorfulness")


@pytest.mark.parametrize(
    ("gains", "weights"),
    [
        (np.zeros(0), np.zeros(0)),
        (np.zeros(3), np.ones(2)),
        (np.zeros(3), np.zeros(3)),
        (np.array([np.nan]), np.ones(1)),
        (np.ones(1), np.array([np.inf])),
    ],
)
def test_impossible_input_is_refused(gains: np.ndarray, weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match="gain"):
        paired_bootstrap(gains, weights)
