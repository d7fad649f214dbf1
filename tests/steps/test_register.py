import json
import multiprocessing
from multiprocessing.queues import Queue
from typing import Any

import pytest

from chromaflow.errors import ModelError, ServerError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.register import RegisterResult, register
from tests.support.tracking import RunPython, WriteCandidate, WriteEvaluation


def test_the_same_weights_are_never_two_versions(
    project: Project,
    settings: Settings,
    candidate: str,
    light_package: None,
    write_candidate: WriteCandidate,
    write_evaluation: WriteEvaluation,
) -> None:
    first = register(project, settings)
    assert first == RegisterResult("chromaflow", 1, candidate, first.run_id, created=True)
    again = RegisterResult("chromaflow", 1, candidate, first.run_id, created=False)
    assert register(project, settings) == again
    write_evaluation(write_candidate(seed=1))
    assert register(project, settings).version == 2
    write_candidate(seed=0)
    assert register(project, settings) == again


def test_the_result_as_json(
    project: Project, settings: Settings, candidate: str, light_package: None
) -> None:
    result = register(project, settings)
    assert json.loads(json.dumps(result.to_json())) == {
        "model": "chromaflow",
        "version": 1,
        "digest": candidate,
        "run_id": result.run_id,
        "created": True,
    }


def test_no_candidate_names_what_makes_one(project: Project, settings: Settings) -> None:
    with pytest.raises(ModelError, match="candidate") as raised:
        register(project, settings)
    assert raised.value.remedy == "chromaflow retrain"


def test_a_server_that_is_down_is_named(project: Project, candidate: str) -> None:
    settings = Settings.model_validate({"tracking": {"uri": "http://127.0.0.1:9"}})
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:9"):
        register(project, settings)


def _register(project: Project, settings: Settings, results: "Queue[Any]") -> None:
    results.put(register(project, settings))


def test_two_at_once_make_one_version(
    project: Project, settings: Settings, candidate: str, light_package: None
) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    both = [context.Process(target=_register, args=(project, settings, results)) for _ in "ab"]
    for one in both:
        one.start()
    found = [results.get() for _ in both]
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
    assert {result.version for result in found} == {1}
    assert sorted(result.created for result in found) == [False, True]


def test_registering_nothing_new_imports_no_mlflow(
    project: Project, settings: Settings, candidate: str, light_package: None, run_python: RunPython
) -> None:
    register(project, settings)
    code = f"""
import sys
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.register import register
assert not register(Project(Path({str(project.root)!r})), Settings()).created
assert not {{"mlflow", "torch", "pandas", "sqlalchemy"}} & set(sys.modules)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
