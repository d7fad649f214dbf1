import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from chromaflow.errors import ModelError
from chromaflow.evaluation.measurements import Measurements
from chromaflow.evidence import champion_measurements
from chromaflow.project.paths import Project
from chromaflow.provenance import ledger
from chromaflow.settings import Settings
from chromaflow.steps import register as step
from chromaflow.steps.promote import promote
from chromaflow.tracking.registry.registry import Registry
from tests.support.tracking import WriteCandidate, WriteEvaluation

Register = Callable[..., str]
Score = Callable[..., None]
IMAGES = tuple(f"image{number}" for number in range(8))


@pytest.fixture
def settings() -> Settings:
    return Settings.model_validate({"promotion": {"resamples": 500}})


@pytest.fixture
def registry(project: Project, settings: Settings) -> Registry:
    return Registry(project, settings)


@pytest.fixture
def register(
    project: Project,
    settings: Settings,
    write_candidate: WriteCandidate,
    write_evaluation: WriteEvaluation,
    light_package: None,
) -> Register:
    """Register another candidate; gives its digest."""

    def make(seed: int = 0, gain: float = 0.1) -> str:
        digest = write_candidate(seed)
        write_evaluation(digest, gain)
        step.register(project, settings)
        return digest

    return make


@pytest.fixture
def champion_scores(monkeypatch: pytest.MonkeyPatch) -> Score:
    """Let the champion reach a level on the 8 images instead of running it."""

    def score(level: float, ids: tuple[str, ...] = IMAGES) -> None:
        values = {"auc_rebalanced": np.full(8, 0.5 + level)}
        found = Measurements(ids, values, np.ones(8))
        monkeypatch.setattr(champion_measurements, "measure_champion", lambda *_: found)

    return score


def champion_version(registry: Registry) -> int | None:
    found = registry.champion()
    return found.version if found else None


def change(registry: Registry, digest: str, name: str) -> None:
    """Change a file of a registered model folder where the registry keeps it."""
    version = registry.version_of(digest)
    assert version is not None
    with registry.verified_folder(version) as folder:
        artifact = folder / name
    artifact.write_bytes(b"others")


def test_the_first_candidate_must_beat_both_baselines(
    project: Project, settings: Settings, register: Register, registry: Registry
) -> None:
    digest = register()
    decision = promote(project, settings)
    assert decision.promoted
    assert decision.new
    assert (decision.champion_before, decision.champion_after) == (None, 1)
    assert set(decision.gains) == {"grey", "mean_color"}
    assert decision.gains["grey"]["mean"] == pytest.approx(0.1, abs=0.01)
    assert champion_version(registry) == 1
    assert registry.version_of(digest) == registry.champion()
    (entry,) = ledger.read(project.ledger)
    assert entry["reason"] == decision.reason
    assert entry["git_commit"] == "none: no commit of git here"
    summary = registry.champion_summary()
    assert summary is not None
    assert summary.decided == entry["time"]


def test_a_candidate_no_better_than_a_baseline_is_refused(
    project: Project, settings: Settings, register: Register, registry: Registry
) -> None:
    register(gain=0.01)
    decision = promote(project, settings)
    assert not decision.promoted
    assert "no champion yet" in decision.reason
    assert decision.gains["grey"]["share"] > decision.gains["mean_color"]["share"]
    assert champion_version(registry) is None
    assert [entry["action"] for entry in ledger.read(project.ledger)] == ["refuse"]


def test_a_metric_that_falls_is_understood(project: Project, register: Register) -> None:
    settings = Settings.model_validate({"promotion": {"metric": "delta_e_2000", "resamples": 500}})
    register()
    decision = promote(project, settings)
    assert decision.promoted
    assert decision.gains["grey"]["mean"] == pytest.approx(1.0, abs=0.1)


def test_the_champion_is_not_decided_upon_again(
    project: Project, settings: Settings, register: Register
) -> None:
    register()
    promote(project, settings)
    again = promote(project, settings)
    assert again.reason == "version 1 is already the champion"
    assert not again.promoted
    assert not again.new
    assert len(ledger.read(project.ledger)) == 1


@pytest.mark.parametrize(("level", "promoted"), [(0.05, True), (0.1, False), (0.2, False)])
def test_a_challenger_must_beat_the_champion(
    project: Project,
    settings: Settings,
    register: Register,
    champion_scores: Score,
    level: float,
    promoted: bool,
    registry: Registry,
) -> None:
    register(seed=0)
    promote(project, settings)
    register(seed=1)
    champion_scores(level)
    decision = promote(project, settings)
    assert decision.promoted is promoted
    assert set(decision.gains) == {"champion"}
    assert champion_version(registry) == (2 if promoted else 1)
    assert decision.champion_after == champion_version(registry)
    entries = ledger.read(project.ledger)
    assert [entry["version"] for entry in entries] == [1, 2]
    assert ledger.verify(project.ledger) is None


def test_a_refusal_is_not_decided_twice_on_the_same_evidence(
    project: Project, settings: Settings, register: Register, champion_scores: Score
) -> None:
    register(seed=0)
    promote(project, settings)
    register(seed=1)
    champion_scores(0.2)
    first = promote(project, settings)
    champion_scores(0.0)
    second = promote(project, settings)
    assert second.reason == first.reason
    assert (first.new, second.new) == (True, False)
    assert len(ledger.read(project.ledger)) == 2
    other = Settings.model_validate({"promotion": {"resamples": 600}})
    assert promote(project, other).promoted


def test_an_alias_that_was_moved_by_hand_is_decided_upon_anew(
    project: Project,
    settings: Settings,
    register: Register,
    champion_scores: Score,
    registry: Registry,
) -> None:
    register(seed=0)
    promote(project, settings)
    register(seed=1)
    champion_scores(0.0)
    assert promote(project, settings).promoted
    registry.connect().set_registered_model_alias("chromaflow", "champion", "1")
    assert promote(project, settings).new
    assert champion_version(registry) == 2
    assert len(ledger.read(project.ledger)) == 3


def test_a_tampered_candidate_is_not_promoted(
    project: Project, settings: Settings, register: Register, registry: Registry
) -> None:
    digest = register()
    change(registry, digest, "weights.safetensors")
    with pytest.raises(ModelError, match="not what was registered"):
        promote(project, settings)
    assert champion_version(registry) is None
    assert not project.ledger.exists()


def test_a_tampered_champion_stops_the_comparison(
    project: Project, settings: Settings, register: Register, registry: Registry
) -> None:
    digest = register(seed=0)
    promote(project, settings)
    change(registry, digest, "model.json")
    register(seed=1)
    with pytest.raises(ModelError, match="version 1 is not what was registered"):
        promote(project, settings)
    assert champion_version(registry) == 1


def test_a_tampered_ledger_stops_promotion(
    project: Project,
    settings: Settings,
    register: Register,
    champion_scores: Score,
    registry: Registry,
) -> None:
    register(seed=0, gain=0.01)
    promote(project, settings)
    register(seed=1)
    promote(project, settings)
    project.ledger.write_text(project.ledger.read_text().replace('"refuse"', '"promote"'))
    register(seed=2)
    champion_scores(0.0)
    with pytest.raises(ModelError, match="line 1"):
        promote(project, settings)
    assert champion_version(registry) == 2


def test_other_images_than_the_champions_are_told(
    project: Project, settings: Settings, register: Register, champion_scores: Score
) -> None:
    register(seed=0)
    promote(project, settings)
    register(seed=1)
    champion_scores(0.0, ids=tuple("abcdefgh"))
    with pytest.raises(ModelError, match="same images") as raised:
        promote(project, settings)
    assert "evaluate" in raised.value.remedy


def test_a_missing_or_broken_table_is_told(
    project: Project, settings: Settings, register: Register
) -> None:
    register()
    table = project.evaluation / "per_image.csv"
    table.write_text("id,system,auc_rebalanced,weight\nimage0,model,much,1\n")
    with pytest.raises(ModelError, match=r"per_image\.csv"):
        promote(project, settings)
    table.write_text("id,system,auc_rebalanced,weight\n")
    with pytest.raises(ModelError, match=r"per_image\.csv has no measurements of the model"):
        promote(project, settings)
    table.write_text("id,system,auc_rebalanced,weight\nimage0,model,0.5,1\n")
    with pytest.raises(ModelError, match="no measurements of grey and mean_color"):
        promote(project, settings)
    table.unlink()
    with pytest.raises(ModelError, match=r"per_image\.csv is missing"):
        promote(project, settings)


def _promote_and_die(project: Project, settings: Settings) -> None:
    def die(*arguments: Any, **keywords: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowClient, "set_registered_model_alias", die)  # noqa: B010 (mypy)
    promote(project, settings)


def test_a_kill_before_the_alias_moves_leaves_no_champion_without_a_decision(
    project: Project, settings: Settings, register: Register, registry: Registry
) -> None:
    register()
    context = multiprocessing.get_context("fork")
    killed = context.Process(target=_promote_and_die, args=(project, settings))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert champion_version(registry) is None
    assert promote(project, settings).promoted
    assert champion_version(registry) == 1
    assert ledger.verify(project.ledger) is None


def test_json_is_the_entry_of_the_ledger_and_whether_it_is_new(
    project: Project, settings: Settings, register: Register, champion_scores: Score
) -> None:
    register(seed=0)
    first = promote(project, settings).to_json()
    (entry,) = ledger.read(project.ledger)
    assert first == {**entry, "line": first["line"], "new": True}
    assert ledger.find(project.ledger, first["line"]) == entry
    assert entry.keys() == {
        *("time", "action", "promoted", "reason", "model", "version", "digest"),
        *("champion_before", "champion_after", "metric", "confidence", "gains", "metrics"),
        *("git_commit", "evidence", "previous"),
    }
    assert promote(project, settings).to_json() == {
        **entry,
        "promoted": False,
        "reason": "version 1 is already the champion",
        "champion_before": 1,
        "champion_after": 1,
        "new": False,
    }
    register(seed=1)
    champion_scores(0.2)
    refused = promote(project, settings).to_json()
    assert refused.pop("new")
    assert promote(project, settings).to_json() == {
        **{name: value for name, value in refused.items() if name != "line"},
        "new": False,
    }
    assert json.loads(json.dumps(refused)) == refused


def test_a_champion_whose_decision_is_not_known_here_is_told(
    project: Project, settings: Settings, register: Register, registry: Registry
) -> None:
    digest = register()
    version = registry.version_of(digest)
    assert version is not None
    registry.connect().set_registered_model_alias("chromaflow", "champion", "1")
    assert promote(project, settings).to_json() == {
        "gains": {},
        "metric": None,
        "model": "chromaflow",
        "version": 1,
        "digest": digest,
        "promoted": False,
        "reason": "version 1 is already the champion",
        "champion_before": 1,
        "champion_after": 1,
        "new": False,
    }
