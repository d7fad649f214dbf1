import pytest

from chromaflow.project import dvc
from flows import retrain

EVERY = {"validate", "describe", "preprocess", "train", "evaluate"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ([], set()),
        (["validate"], EVERY),
        (["describe"], {"describe"}),
        (["preprocess"], {"preprocess", "train", "evaluate"}),
        (["describe", "train"], {"describe", "train", "evaluate"}),
        (["evaluate"], {"evaluate"}),
        (["describe", "preprocess"], EVERY - {"validate"}),
    ],
)
def test_the_description_makes_nothing_stale(project, monkeypatch, changed, expected):
    monkeypatch.setattr(dvc, "stale", lambda _: {name: [] for name in changed})
    assert retrain.find_stale.fn(project) == expected


def test_every_stage_of_dvc_has_a_task(project):
    import yaml

    stages = yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"]
    assert set(stages) == set(retrain.STAGES) | {"describe"}
    assert all(hasattr(retrain, name) for name in stages)
