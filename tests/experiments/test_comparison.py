import csv
from pathlib import Path

import pytest

from chromaflow.evaluation.baselines import SYSTEMS
from chromaflow.experiments import comparison as module
from chromaflow.experiments.comparison import Row, compare
from chromaflow.experiments.comparison_page import as_markdown, table, write_comparison
from chromaflow.experiments.costs import Costs
from chromaflow.project.paths import Project
from chromaflow.tracking.client import connect
from tests.experiments.conftest import tiny


def test_recipes_are_trained_judged_registered_and_drawn(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(folder: Path, threads: int) -> Costs:
        measured.append((folder, threads))
        return Costs(parameters=1_234_567, gigaflops=2.34, milliseconds=67.8, megabytes=90.1)

    # A step that costs two seconds, whatever the machine.
    monkeypatch.setattr(module, "seconds_a_step", lambda *_: 2.0)
    monkeypatch.setattr(module, "measure_costs", measure)
    recipes = {"one": tiny(), "other": tiny(learning_rate=1e-4)}
    rows = compare(project, recipes, budget=20)
    assert [row.recipe for row in rows] == ["one", "other"]
    assert [row.steps for row in rows] == [10, 10]
    assert len({row.digest for row in rows}) == 2
    for row in rows:
        assert {"model", "grey", "mean_color", "truth"} == row.measured.keys()
    assert measured == [(Path(row.folder) / "model", 1) for row in rows]
    versions = connect(project, tiny()).search_model_versions("name = 'chromaflow'")
    assert {f"chromaflow/{version.version}" for version in versions} == {r.version for r in rows}
    assert not any(version.aliases for version in versions)

    page = write_comparison(project, rows)
    heading, *body = csv.reader((page.parent / "table.csv").open())
    assert heading[:2] == ["System", "AuC, rebalanced"]
    assert {line[0] for line in body} == {"one", "other", "grey", "mean color", "truth"}
    costs = {line[0]: line[-5:] for line in body}
    assert costs["one"] == costs["other"] == ["10", "1.23", "2.3", "68", "90"]
    assert costs["grey"] == costs["truth"] == [""] * 5
    assert as_markdown(table(rows)) == (page.parent / "table.md").read_text()
    for name in ("one", "other", "grey", "mean-color", "truth"):
        assert f"strips/{name}.jpg" in page.read_text()

    monkeypatch.setattr(module, "train_as_run", None)
    assert compare(project, recipes, budget=20) == rows


def test_the_best_stands_first() -> None:
    found = {"worst": 51.0, "best": 54.0, "third": 52.0, "second": 53.0}
    costs = Costs(parameters=1_000_000, gigaflops=1.0, milliseconds=1.0, megabytes=1.0)
    others = {name: {"auc_rebalanced": 99.0} for name in SYSTEMS if name != "model"}
    rows = [
        Row(name, 10, 80, 1.0, {**others, "model": {"auc_rebalanced": auc}}, costs, "", "", "")
        for name, auc in found.items()
    ]
    heading, *body = table(rows)
    column = heading.index("AuC, rebalanced")
    ranked = [float(line[column]) for line in body[: len(rows)]]
    assert [line[0] for line in body[: len(rows)]] == ["best", "second", "third", "worst"]
    assert ranked == [54.0, 53.0, 52.0, 51.0]
    assert [line[0] for line in body[len(rows) :]] == ["mean color", "grey", "truth"]
