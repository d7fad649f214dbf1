import json
from typing import Any

import pytest

from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps import train as module
from chromaflow.steps.train import train


def test_a_result_names_the_weights_and_keeps_the_record_apart_from_this_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[str, Any] = {
        "steps": 40,
        "images": 9,
        "digest": "a" * 64,
        "fingerprint": "b" * 64,
        "resumed_from": 20,
    }
    monkeypatch.setattr(module, "train_tracked", lambda *_: dict(trained))
    result = train(project, Settings())
    assert (result.digest, result.steps, result.resumed_from) == ("a" * 64, 40, 20)
    assert result.record == {"steps": 40, "images": 9, "digest": "a" * 64}
    assert json.loads(json.dumps(result.to_json())) == trained
    assert result.summary() == f"models/candidate: {'a' * 64}, 40 steps"
