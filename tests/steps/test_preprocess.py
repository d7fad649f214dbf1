import json
from dataclasses import replace

from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.preprocess import preprocess


def test_the_result_is_what_was_written_and_is_said_in_a_line(checkout: Project) -> None:
    values = Settings.model_validate({"preprocess": {"size": 48}})
    result = preprocess(checkout, values)
    written = json.loads((checkout.lab / "statistics.json").read_text())
    assert result.to_json() == {**written, "decoded": 5}
    assert result.summary() == "data/lab: 3 train, 1 validation, 1 test"
    again = preprocess(checkout, values)
    assert again.store == replace(result.store, decoded=0)
