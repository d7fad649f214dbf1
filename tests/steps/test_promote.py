import multiprocessing
from multiprocessing.queues import Queue
from typing import Any

import pytest

from chromaflow.errors import ModelError
from chromaflow.project.paths import Project
from chromaflow.provenance import ledger
from chromaflow.settings import Settings
from chromaflow.steps.promote import promote
from chromaflow.steps.register import register
from chromaflow.tracking.registry.registry import Registry
from tests.support.tracking import RunPython


def test_the_registered_candidate_becomes_champion(
    project: Project, settings: Settings, candidate: str, light_package: None
) -> None:
    register(project, settings)
    result = promote(project, settings)
    assert (result.promoted, result.new, result.digest) == (True, True, candidate)
    champion = Registry(project, settings).champion()
    assert champion is not None
    assert champion.digest == candidate


def test_no_candidate_names_what_makes_one(project: Project, settings: Settings) -> None:
    with pytest.raises(ModelError, match="holds no trained model") as raised:
        promote(project, settings)
    assert raised.value.remedy == "chromaflow retrain"


def test_an_unregistered_candidate_is_told(
    project: Project, settings: Settings, candidate: str
) -> None:
    with pytest.raises(ModelError, match="has no version of chromaflow") as raised:
        promote(project, settings)
    assert raised.value.remedy == "chromaflow register"


def _promote(project: Project, settings: Settings, results: "Queue[Any]") -> None:
    results.put(promote(project, settings).new)


def test_two_at_once_decide_once(
    project: Project, settings: Settings, candidate: str, light_package: None
) -> None:
    register(project, settings)
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


def test_deciding_nothing_new_imports_no_mlflow(
    project: Project, settings: Settings, candidate: str, light_package: None, run_python: RunPython
) -> None:
    register(project, settings)
    promote(project, settings)
    code = f"""
import sys
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.promote import promote
result = promote(Project(Path({str(project.root)!r})), Settings())
assert not result.new, result
assert not {{"mlflow", "torch", "pandas", "sqlalchemy"}} & set(sys.modules)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
