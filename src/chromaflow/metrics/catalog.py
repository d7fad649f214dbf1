"""Every metric of the held-out images, in the order in which tables and pages show them.

A new metric is a file next to this one, which ends in the metric's facts, and its line here:
evaluation, `per_image.csv`, pages, the settings of the promotion and the comparison read this list.
"""

from collections.abc import Mapping

from chromaflow.metrics.auc import AUC, AUC_REBALANCED
from chromaflow.metrics.base import Metric
from chromaflow.metrics.colorfulness import (
    COLORFULNESS,
    COLORFULNESS_DIFFERENCE,
    COLORFULNESS_HASLER,
)
from chromaflow.metrics.delta_e import DELTA_E_2000
from chromaflow.metrics.psnr import PSNR
from chromaflow.metrics.saturation import SATURATION_DIFFERENCE
from chromaflow.metrics.ssim import SSIM

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        AUC_REBALANCED,
        AUC,
        DELTA_E_2000,
        PSNR,
        SSIM,
        SATURATION_DIFFERENCE,
        COLORFULNESS,
        COLORFULNESS_DIFFERENCE,
        COLORFULNESS_HASLER,
    )
}
"""The facts of each by its name."""


def deciding() -> list[str]:
    """Names of the metrics by which one model can be found better than another.

    Example:
        >>> "psnr" in deciding(), "colorfulness" in deciding()
        (True, False)
    """
    return [name for name, metric in METRICS.items() if metric.can_decide]
