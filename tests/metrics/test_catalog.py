"""What the catalog promises of every metric."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from skimage import color, data

from chromaflow import settings
from chromaflow.color.lab import join, lab_to_rgb, rgb_to_lab
from chromaflow.errors import SettingsError
from chromaflow.metrics.base import Compared, Metric, Pictures
from chromaflow.metrics.catalog import METRICS, deciding
from chromaflow.project.paths import Project
from chromaflow.settings import Settings

LAB = color.rgb2lab(np.stack((data.astronaut()[::8, ::8], data.cat()[:256:4, :256:4])))
"""Two photographs, (2, H, W, 3)."""
PER_IMAGE = [metric for metric in METRICS.values() if metric.per_image is not None]


def pictures(vividness: float) -> Pictures:
    """The photographs with more or less color, float64."""
    lab = torch.from_numpy(LAB).movedim(-1, 1)
    ab = vividness * lab[:, 1:]
    rgb = lab_to_rgb(join(lab[:, :1], ab))
    return Pictures(ab, rgb, rgb_to_lab(rgb))


def in_precision(
    compared: Compared, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Compared:
    predicted, true = (
        Pictures(*(part.to(device, dtype) for part in side))
        for side in (compared.predicted, compared.true)
    )
    return Compared(predicted, true, compared.weights.to(device, dtype))


def values(metric: Metric, compared: Compared) -> torch.Tensor:
    assert metric.per_image is not None
    return metric.per_image(compared)


@pytest.mark.parametrize("metric", PER_IMAGE, ids=lambda metric: metric.name)
def test_every_precision_is_computed_in_single_or_better(
    metric: Metric, dtype: torch.dtype, device: torch.device
) -> None:
    weights = torch.rand(LAB.shape[:3], generator=torch.Generator().manual_seed(0)).double()
    given = Compared(pictures(0.5), pictures(1.0), weights)
    low = in_precision(given, dtype, device)
    wide = in_precision(in_precision(given, dtype), torch.float64)
    got = values(metric, low)
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert got.device.type == device.type
    torch.testing.assert_close(got.cpu().double(), values(metric, wide), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", deciding())
def test_the_truth_is_better_than_faded_colors_in_every_metric_that_decides(name: str) -> None:
    true, weights = pictures(1.0), torch.ones(LAB.shape[:3])
    perfect = values(METRICS[name], Compared(true, true, weights))
    faded = values(METRICS[name], Compared(pictures(0.5), true, weights))
    better = perfect - faded if METRICS[name].direction == "higher" else faded - perfect
    assert (better > 0).all()


def test_a_difference_is_of_a_metric_whose_goal_is_the_truth() -> None:
    of = [METRICS[metric.difference_of] for metric in METRICS.values() if metric.difference_of]
    assert [metric.name for metric in of] == ["colorfulness"]
    assert all(metric.per_image is not None and metric.direction == "none" for metric in of)


def test_what_decides_may_be_set_and_nothing_else(project: Project) -> None:
    assert set(deciding()) < set(METRICS)
    for name in deciding():
        loaded = settings.load(project, overrides=[f"promotion.metric={name}"])
        assert loaded.promotion.metric == name
    for name in ("colorfulness", "colorfulness_difference"):
        with pytest.raises(SettingsError, match=f"promotion.metric = '{name}' is not known"):
            settings.load(project, overrides=[f"promotion.metric={name}"])
    with pytest.raises(SettingsError, match="did you mean psnr"):
        settings.load(project, overrides=["promotion.metric=psnt"])
    assert Settings().promotion.metric in deciding()


@pytest.mark.parametrize("given", [{}, {"per_image": values, "difference_of": "psnr"}])
def test_a_metric_is_either_of_images_or_a_difference_of_means(given: dict[str, object]) -> None:
    facts = {"label": "", "unit": "", "direction": "none", "decimals": 1, "meaning": ""}
    with pytest.raises(ValueError, match="metric odd: give it either"):
        Metric(name="odd", **facts, **given)  # type: ignore[arg-type]


def test_facts_are_read_without_torch() -> None:
    code = (
        "import sys\n"
        "import chromaflow.settings, chromaflow.metrics.catalog, chromaflow.evaluation.baselines\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
