"""Whether a model is better than another, by a paired bootstrap over the held-out images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chromaflow.evaluation.measurements import Measurements
from chromaflow.metrics.catalog import METRICS, deciding

_BLOCK = 2**22  # numbers drawn at a time, 32 MiB


@dataclass(frozen=True)
class Gain:
    """How much better a candidate is, in the metric's unit; positive is better for every metric.

    Attributes:
        mean: On the images as they are.
        low: Lower end of the interval that holds the middle `interval` of the resamples.
        high: Its upper end.
        share: Share of the resamples in which the gain is above zero.
        images: How many were resampled.
        resamples: How often.
    """

    mean: float
    low: float
    high: float
    share: float
    images: int
    resamples: int


def paired_bootstrap(
    gains: NDArray[np.floating[Any]],
    weights: NDArray[np.floating[Any]],
    *,
    resamples: int = 10_000,
    interval: float = 0.95,
    seed: int = 17,
) -> Gain:
    """Resample images with both systems' values on each kept together.

    Args:
        gains: Difference of the two systems on each image, positive where the candidate is
            better, (n,).
        weights: What each image counts, above 0, (n,): the gain of a resample is Σ m·g / Σ m.
        resamples: How often n images are drawn from the n, with replacement.
        interval: Share of the resamples that the interval holds.
        seed: Of the draws: the same seed and images, the same result.

    Raises:
        ValueError: No image, shapes that differ, a mass not above 0, or a value not finite.
    """
    n = len(gains)
    if n == 0 or gains.shape != (n,) or weights.shape != (n,):
        raise ValueError(
            f"one gain and one weight per image, not {gains.shape} and {weights.shape}"
        )
    if not (np.isfinite(gains).all() and np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("gains must be finite, weights finite and above 0")
    rng = np.random.default_rng(seed)
    weighted = gains * weights
    resampled = np.empty(resamples)
    rows = max(1, _BLOCK // n)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn = rng.integers(0, n, size=(stop - start, n))
        resampled[start:stop] = weighted[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.quantile(resampled, [(1 - interval) / 2, (1 + interval) / 2])
    return Gain(
        mean=float(weighted.sum() / weights.sum()),
        low=float(low),
        high=float(high),
        share=float((resampled > 0).mean()),
        images=n,
        resamples=resamples,
    )


def compare(
    candidate: Measurements,
    champion: Measurements,
    metric: str,
    *,
    resamples: int = 10_000,
    interval: float = 0.95,
    seed: int = 17,
) -> Gain:
    """The candidate's gain over the champion in one metric, whichever way the metric points.

    Args:
        candidate: Measured on the same images as the champion.
        champion: What serves now.
        metric: One of `chromaflow.metrics.catalog.deciding`.
        resamples: Of the bootstrap.
        interval: Share of the resamples that the interval holds.
        seed: Of the bootstrap.

    Raises:
        ValueError: Other images, or a metric without a better and a worse.
    """
    if candidate.ids != champion.ids:
        raise ValueError("candidate and champion must be measured on the same images")
    if metric not in deciding():
        raise ValueError(f"{metric} cannot be ranked; compare {', '.join(deciding())}")
    sign = 1.0 if METRICS[metric].direction == "higher" else -1.0
    gains = sign * (candidate.values[metric] - champion.values[metric])
    return paired_bootstrap(
        gains, candidate.weights_of(metric), resamples=resamples, interval=interval, seed=seed
    )
