import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chromaflow.data.quality import drift
from chromaflow.data.snapshot.manifest import SCHEMA
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.support.manifests import rows

COUNTS = st.lists(st.integers(0, 10_000), min_size=10, max_size=10)


def record(counts: list[int]) -> drift.Record:
    return drift.Record(
        sources=["a"], settings={}, edges=list(map(float, drift.EDGES)), mean_chroma=counts
    )


def test_the_record_counts_the_accepted_images() -> None:
    table = pa.Table.from_pylist([*rows(3, mean_chroma=5.0), *rows(1, mean_chroma=99.0)], SCHEMA)
    found = drift.describe(table, Settings())
    assert found.mean_chroma == [0, 3, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found.sources == ["folder"]
    assert drift.comparable(found, drift.describe(table, Settings()))


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"quality": {"min_chroma": 4.0}, "source": {"name": "coco"}}, False),
        ({"source": {"name": "coco", "subset": "val2017"}}, False),
        (
            {
                "quality": {"max_drift": 0.1, "min_images": 20},
                "source": {"name": "coco", "images": 5, "archive": "train2017.zip"},
            },
            True,
        ),
    ],
)
def test_only_snapshots_of_one_data_set_are_comparable(
    changes: dict[str, dict[str, object]], same: bool
) -> None:
    table = pa.Table.from_pylist(rows(3), SCHEMA)
    old = drift.describe(table, Settings.model_validate({"source": {"name": "coco"}}))
    assert drift.comparable(old, drift.describe(table, Settings.model_validate(changes))) == same


def test_a_record_that_names_the_settings_of_all_sources_is_comparable() -> None:
    new = drift.describe(pa.Table.from_pylist(rows(3), SCHEMA), Settings())
    empty = {"source.folder": "", "source.subset": "", "source.categories": []}
    old = new.model_copy(update={"settings": new.settings | empty})
    assert drift.comparable(old, new)
    other = new.model_copy(update={"settings": new.settings | {"source.folder": "elsewhere"}})
    assert not drift.comparable(other, new)


@given(COUNTS, COUNTS)
@hypothesis_settings(max_examples=50, deadline=None)
def test_the_index_is_a_symmetric_divergence(one: list[int], other: list[int]) -> None:
    index = drift.compare(record(one), record(other))["psi"].sum()
    assert index >= 0
    assert index == pytest.approx(drift.compare(record(other), record(one))["psi"].sum())
    assert drift.compare(record(one), record(one))["psi"].sum() == 0


def test_the_index_by_hand() -> None:
    bins = drift.compare(record([99, 0, *[0] * 8]), record([0, 99, *[0] * 8]))
    p, q = 99.5 / 104, 0.5 / 104
    assert bins["psi"].sum() == pytest.approx(2 * (p - q) * np.log(p / q))
    assert drift.explain(bins).startswith("0 to 5: 95.7% → 0.5%; 5 to 10: 0.5% → 95.7%")


def test_chance_alone_hardly_ever_passes_the_limit() -> None:
    random = np.random.default_rng(3)
    shares = random.dirichlet(np.ones(10) * 5)
    passed = 0
    for _ in range(300):
        one, other = (record(random.multinomial(n, shares).tolist()) for n in (200, 300))
        passed += drift.compare(one, other)["psi"].sum() > drift.limit(0.01, one, other)
    assert passed <= 5
    assert drift.limit(0.25, record([10_000] * 10), record([10_000] * 10)) == 0.25


def test_the_record_is_kept_and_read(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert drift.read(project) is None
    drift.write(project, record([1] * 10))
    assert drift.read(project) == record([1] * 10)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"sources": [], "mean_chroma": []})])
def test_a_broken_record_is_told(tmp_path: Path, text: str) -> None:
    project = Project(tmp_path)
    project.quality_record.parent.mkdir(parents=True)
    project.quality_record.write_text(text)
    with pytest.raises(DataError, match=r"quality\.json is not a record") as caught:
        drift.read(project)
    assert "git checkout" in caught.value.remedy


def test_the_stage_depends_on_what_the_record_holds(project: Project) -> None:
    stage = yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"]["validate"]
    held = drift.describe(pa.Table.from_pylist(rows(1), SCHEMA), Settings()).settings
    names = [str(name) for name in stage["params"]]
    assert all(name in names or name.partition(".")[0] in names for name in held)
    path = str(project.quality_record.relative_to(project.root))
    assert {path: {"cache": False, "persist": True}} in stage["outs"]
