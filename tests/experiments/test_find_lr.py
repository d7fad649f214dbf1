from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromaflow.errors import SettingsError, TrainingInterruptedError
from chromaflow.experiments import find_lr as module
from chromaflow.experiments.find_lr import find_lr, steepest, write_curve
from chromaflow.project.paths import Project
from tests.experiments.conftest import signal_at, tiny


def test_the_steepest_fall_is_found_in_noise() -> None:
    rates = np.geomspace(1e-6, 1, 100)
    fall = 5 - 3 / (1 + np.exp(-4 * (np.log10(rates) + 3)))
    noise = 0.05 * np.random.default_rng(0).standard_normal(100)
    found = steepest(rates.tolist(), (fall + noise).tolist())
    assert abs(np.log10(found) + 3) < 0.4


def test_the_curve_rises_evenly_and_nothing_else_is_touched(
    project: Project, tmp_path: Path
) -> None:
    curve = find_lr(project, tiny(), low=1e-5, high=1e-2, steps=12)
    factors = np.diff(np.log(curve.rates))
    np.testing.assert_allclose(factors, factors[0], rtol=1e-6)
    assert curve.rates[0] == pytest.approx(1e-5)
    assert len(curve.losses) == len(curve.rates) <= 12
    assert curve.suggested in curve.rates
    assert not project.candidate.exists()
    assert not project.training_report.exists()
    page = write_curve(tmp_path / "curves", "tiny", curve)
    assert page.read_text().startswith("<svg")
    assert (tmp_path / "curves" / "tiny.csv").read_text().startswith("learning_rate,loss\n")


def test_a_loss_that_runs_away_ends_the_curve(project: Project) -> None:
    curve = find_lr(project, tiny(clip=0.0), low=1e-2, high=1e6, steps=40)
    assert len(curve.rates) < 40
    assert all(np.isfinite(curve.losses))


@pytest.mark.parametrize("wrong", [{"low": 1.0, "high": 0.1}, {"low": 0.0}, {"steps": 3}])
def test_rates_that_do_not_rise_are_refused(project: Project, wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="does not rise"):
        find_lr(project, tiny(), **wrong)


def test_a_signal_is_no_end_of_the_curve(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "train", signal_at(12))
    with pytest.raises(TrainingInterruptedError):
        find_lr(project, tiny(), low=1e-5, high=1e-2, steps=20)
