import json
import multiprocessing
import os
import signal

import numpy as np
import pytest
from mlflow import MlflowClient

from chromaflow.errors import ModelError
from chromaflow.evaluation.measure import Measurements
from chromaflow.evidence import promotion
from chromaflow.provenance import ledger
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect
from chromaflow.tracking.registry import register as registry
from chromaflow.tracking.registry.lookup import champion, version_of


@pytest.fixture
def settings():
    return Settings.model_validate({"promotion": {"resamples": 500}})


@pytest.fixture
def register(project, settings, write_candidate, write_evaluation, light_package):
    """Register another candidate; gives its digest."""

    def make(seed=0, gain=0.1):
        digest = write_candidate(seed)
        write_evaluation(digest, gain)
        registry.register(project, settings)
        return digest

    return make


@pytest.fixture
def champion_scores(monkeypatch):
    """Let the champion reach a level on the 8 images instead of running it."""

    def score(level, ids=tuple(f"image{n}" for n in range(8))):
        values = {"auc_rebalanced": np.full(8, 0.5 + level)}
        found = Measurements(ids, values, np.ones(8))
        monkeypatch.setattr(promotion, "measure_champion", lambda *_: found)

    return score


def reigning(project, settings):
    found = champion(project, settings)
    return found.version if found else None


def test_the_first_candidate_must_beat_both_baselines(project, settings, register):
    digest = register()
    decision = promotion.promote(project, settings)
    assert decision["promoted"]
    assert decision["new"]
    assert (decision["champion_before"], decision["champion_after"]) == (None, 1)
    assert set(decision["gains"]) == {"grey", "mean_color"}
    assert decision["gains"]["grey"]["mean"] == pytest.approx(0.1, abs=0.01)
    assert champion(project, settings).digest == digest
    (entry,) = ledger.read(project.ledger)
    assert entry["reason"] == decision["reason"]
    assert entry["git_commit"] == "none: no commit of git here"
    assert registry.serving(project, settings)["decided"] == entry["time"]


def test_a_candidate_no_better_than_a_baseline_is_refused(project, settings, register):
    register(gain=0.01)
    decision = promotion.promote(project, settings)
    assert not decision["promoted"]
    assert "no champion yet" in decision["reason"]
    assert decision["gains"]["grey"]["share"] > decision["gains"]["mean_color"]["share"]
    assert reigning(project, settings) is None
    assert [entry["action"] for entry in ledger.read(project.ledger)] == ["refuse"]


def test_a_metric_that_falls_is_understood(project, register):
    settings = Settings.model_validate({"promotion": {"metric": "delta_e_2000", "resamples": 500}})
    register()
    decision = promotion.promote(project, settings)
    assert decision["promoted"]
    assert decision["gains"]["grey"]["mean"] == pytest.approx(1.0, abs=0.1)


def test_the_champion_is_not_decided_upon_again(project, settings, register):
    register()
    promotion.promote(project, settings)
    again = promotion.promote(project, settings)
    assert again["reason"] == "version 1 is already the champion"
    assert not again["promoted"]
    assert not again["new"]
    assert len(ledger.read(project.ledger)) == 1


@pytest.mark.parametrize(("level", "promoted"), [(0.05, True), (0.1, False), (0.2, False)])
def test_a_challenger_must_beat_the_champion(
    project, settings, register, champion_scores, level, promoted
):
    register(seed=0)
    promotion.promote(project, settings)
    register(seed=1)
    champion_scores(level)
    decision = promotion.promote(project, settings)
    assert decision["promoted"] is promoted
    assert set(decision["gains"]) == {"champion"}
    assert reigning(project, settings) == (2 if promoted else 1)
    assert decision["champion_after"] == reigning(project, settings)
    entries = ledger.read(project.ledger)
    assert [entry["version"] for entry in entries] == [1, 2]
    assert ledger.verify(project.ledger) is None


def test_a_refusal_is_not_decided_twice_on_the_same_evidence(
    project, settings, register, champion_scores
):
    register(seed=0)
    promotion.promote(project, settings)
    register(seed=1)
    champion_scores(0.2)
    first = promotion.promote(project, settings)
    champion_scores(0.0)
    second = promotion.promote(project, settings)
    assert second["reason"] == first["reason"]
    assert (first["new"], second["new"]) == (True, False)
    assert len(ledger.read(project.ledger)) == 2
    other = Settings.model_validate({"promotion": {"resamples": 600}})
    assert promotion.promote(project, other)["promoted"]


def test_an_alias_that_was_moved_by_hand_is_decided_upon_anew(
    project, settings, register, champion_scores
):
    register(seed=0)
    promotion.promote(project, settings)
    register(seed=1)
    champion_scores(0.0)
    assert promotion.promote(project, settings)["promoted"]
    connect(project, settings).set_registered_model_alias("chromaflow", "champion", "1")
    assert promotion.promote(project, settings)["new"]
    assert reigning(project, settings) == 2
    assert len(ledger.read(project.ledger)) == 3


def test_an_unregistered_candidate_is_told(project, settings, write_candidate, write_evaluation):
    write_evaluation(write_candidate())
    with pytest.raises(ModelError) as raised:
        promotion.promote(project, settings)
    assert raised.value.mend == "chromaflow register"


def test_a_tampered_candidate_is_not_promoted(project, settings, register):
    digest = register()
    version = version_of(project, settings, digest)
    with registry.verified_folder(project, settings, version) as folder:
        artifact = folder
    (artifact / "weights.safetensors").write_bytes(b"others")
    with pytest.raises(ModelError, match="not what was registered"):
        promotion.promote(project, settings)
    assert reigning(project, settings) is None
    assert not project.ledger.exists()


def test_a_tampered_champion_stops_the_comparison(project, settings, register):
    digest = register(seed=0)
    promotion.promote(project, settings)
    with registry.verified_folder(
        project, settings, version_of(project, settings, digest)
    ) as folder:
        artifact = folder
    (artifact / "model.json").write_text("{}")
    register(seed=1)
    with pytest.raises(ModelError, match="version 1 is not what was registered"):
        promotion.promote(project, settings)
    assert reigning(project, settings) == 1


def test_a_tampered_ledger_stops_promotion(project, settings, register, champion_scores):
    register(seed=0, gain=0.01)
    promotion.promote(project, settings)
    register(seed=1)
    promotion.promote(project, settings)
    project.ledger.write_text(project.ledger.read_text().replace('"refuse"', '"promote"'))
    register(seed=2)
    champion_scores(0.0)
    with pytest.raises(ModelError, match="line 1"):
        promotion.promote(project, settings)
    assert reigning(project, settings) == 2


def test_other_images_than_the_champions_are_told(project, settings, register, champion_scores):
    register(seed=0)
    promotion.promote(project, settings)
    register(seed=1)
    champion_scores(0.0, ids=tuple("abcdefgh"))
    with pytest.raises(ModelError, match="same images") as raised:
        promotion.promote(project, settings)
    assert "evaluate" in raised.value.mend


def test_a_missing_or_broken_table_is_told(project, settings, register):
    register()
    table = project.evaluation / "per_image.csv"
    table.write_text("id,system,auc_rebalanced,weight\nimage0,model,much,1\n")
    with pytest.raises(ModelError, match=r"per_image\.csv"):
        promotion.promote(project, settings)
    table.unlink()
    with pytest.raises(ModelError, match=r"per_image\.csv is missing"):
        promotion.promote(project, settings)


def _promote_and_die(project, settings):
    def die(*arguments, **keywords):
        os.kill(os.getpid(), signal.SIGKILL)

    MlflowClient.set_registered_model_alias = die
    promotion.promote(project, settings)


def test_a_kill_before_the_alias_moves_leaves_no_champion_without_a_decision(
    project, settings, register
):
    register()
    context = multiprocessing.get_context("fork")
    killed = context.Process(target=_promote_and_die, args=(project, settings))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert reigning(project, settings) is None
    assert promotion.promote(project, settings)["promoted"]
    assert reigning(project, settings) == 1
    assert ledger.verify(project.ledger) is None


def _promote(project, settings, results):
    results.put(promotion.promote(project, settings)["new"])


def test_two_at_once_decide_once(project, settings, register):
    register()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    both = [context.Process(target=_promote, args=(project, settings, results)) for _ in "ab"]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
    assert sorted(results.get() for _ in both) == [False, True]
    assert len(ledger.read(project.ledger)) == 1


def test_a_decision_is_json(project, settings, register):
    register()
    assert json.loads(json.dumps(promotion.promote(project, settings)))["version"] == 1


def test_deciding_nothing_new_imports_no_mlflow(project, settings, register, run_python):
    register()
    promotion.promote(project, settings)
    code = f"""
import sys
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.evidence.promotion import promote
result = promote(Project(Path({str(project.root)!r})), Settings())
assert not result["new"], result
assert not {{"mlflow", "torch", "pandas", "sqlalchemy"}} & set(sys.modules)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
