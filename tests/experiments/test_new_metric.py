"""The metric of the documents, added to the catalog: whatever shows or decides has it."""

import csv
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

from chromaflow.evaluation.baselines import BASELINES, SYSTEMS
from chromaflow.experiments.comparison import Row
from chromaflow.experiments.comparison_page import table
from chromaflow.experiments.costs import Costs
from chromaflow.metrics.base import Metric
from chromaflow.metrics.catalog import METRICS
from chromaflow.models import build_model
from chromaflow.models.model_folder import save_model
from chromaflow.project.paths import Project
from chromaflow.reporting import run_page
from chromaflow.settings import Promotion, Settings
from chromaflow.steps.evaluate import evaluate
from chromaflow.steps.promote import promote
from chromaflow.steps.register import register
from tests.experiments.conftest import tiny

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "results.md"


@pytest.fixture
def metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Metric:
    """The documented metric, in the catalog."""
    (text,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    path = tmp_path / "blueness.py"
    path.write_text(text)
    spec = spec_from_file_location("chromaflow.metrics.blueness", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Metric = module.BLUENESS
    monkeypatch.setitem(METRICS, found.name, found)
    return found


@pytest.fixture
def judged(project: Project, metric: Metric) -> tuple[Project, Settings]:
    """A checkout with a candidate that the metric decides upon."""
    promotion = Promotion(metric=metric.name, resamples=500)
    settings = tiny().model_copy(update={"promotion": promotion})
    torch.manual_seed(0)
    save_model(build_model(settings.model), project.candidate)
    return project, settings


def test_a_new_metric_is_measured_shown_and_decides(
    judged: tuple[Project, Settings], metric: Metric
) -> None:
    project, settings = judged
    result = evaluate(project, settings)
    with (project.evaluation / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for system in ("model", *BASELINES):
        own = [float(row[metric.name]) for row in rows if row["system"] == system]
        assert len(own) == result.images == 8
        assert result.means[system][metric.name] == pytest.approx(np.mean(own), abs=1e-4)
    assert metric.name in result.means["truth"] or metric.direction != "none"

    register(project, settings)
    decision = promote(project, settings)
    assert decision.metric == metric.name
    assert f" {metric.unit} (above zero in " in decision.reason

    assert metric.label in run_page.summarize(project, settings)
    page = run_page.write_report(project, settings).read_text()
    assert f"{metric.meaning} Higher is better." in page
    assert re.search(
        rf'<th scope="row">{metric.label}<br><span class="soft">decides promotion</span>', page
    )


def test_a_new_metric_is_a_column_of_the_comparison(
    judged: tuple[Project, Settings], metric: Metric
) -> None:
    result = evaluate(*judged)
    costs = Costs(parameters=1, gigaflops=1.0, milliseconds=1.0, megabytes=1.0)
    measured = {name: result.means[name] for name in SYSTEMS}
    heading, *body = table([Row("one", 10, 80, 1.0, measured, costs, "", "", "")])
    column = heading.index(metric.label)
    assert {line[0]: line[column] for line in body} == {
        "one": f"{result.means['model'][metric.name]:.{metric.decimals}f}",
        **{
            baseline.label: f"{result.means[name][metric.name]:.{metric.decimals}f}"
            for name, baseline in BASELINES.items()
        },
        "truth": "",
    }
