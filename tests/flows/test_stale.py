import pytest

from chromaflow.project import dvc
from chromaflow.project.paths import Project
from chromaflow.steps.table import STEPS
from flows import retrain

STAGES = [step.name for step in STEPS if step.stage]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ([], []),
        (["validate"], STAGES),
        (["describe"], ["describe"]),
        (["preprocess"], ["preprocess", "train", "evaluate"]),
        (["describe", "train"], ["describe", "train", "evaluate"]),
        (["evaluate"], ["evaluate"]),
        (["describe", "preprocess"], ["describe", "preprocess", "train", "evaluate"]),
    ],
)
def test_what_depends_on_a_stage_that_changed_is_stale(
    project: Project, monkeypatch: pytest.MonkeyPatch, changed: list[str], expected: list[str]
) -> None:
    monkeypatch.setattr(dvc, "stale", lambda _: {name: [] for name in changed})
    assert retrain.find_stale.fn(project) == expected


def test_every_step_has_a_task() -> None:
    assert list(retrain.TASKS) == [step.name for step in STEPS]
    assert all(retrain.TASKS[step.name].name == step.name for step in STEPS)
