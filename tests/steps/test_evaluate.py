"""The step: what it writes, that it writes the same again, and what it says when it cannot."""

import csv
import json
from pathlib import Path
from typing import Never

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from chromaflow.errors import DataError, ModelError
from chromaflow.evaluation.strips import choose
from chromaflow.models import build_model
from chromaflow.models.model_folder import model_digest, save_model
from chromaflow.project.paths import Project
from chromaflow.settings import Evaluation, Model, Settings, Training
from chromaflow.steps.evaluate import evaluate

SETTINGS = Settings(
    evaluation=Evaluation(size=64, pictures=3),
    training=Training(threads=1, accelerator="cpu"),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    torch.manual_seed(0)
    model = build_model(Model.model_validate({"network": {"width": 0.0625, "weights": "none"}}))
    save_model(model, project.candidate)
    project.lab.mkdir(parents=True)
    (project.lab / "statistics.json").write_text(json.dumps({"mean_ab": [3.0, 9.0]}))
    return project


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_reports_are_complete_and_the_same_again(
    project: Project, split: dict[str, NDArray[np.uint8]]
) -> None:
    threads = torch.get_num_threads()
    result = evaluate(project, SETTINGS)
    assert torch.get_num_threads() == threads
    first = contents(project.evaluation)
    assert set(first) == {
        "metrics.json",
        "per_image.csv",
        "pictures/01-astronaut.png",
        "pictures/02-coffee.png",
        "pictures/03-rocket_1.png",
    }
    assert json.loads(first["metrics.json"]) == result.to_json()
    (project.evaluation / "stale.txt").write_text("of an older evaluation")
    evaluate(project, SETTINGS)
    assert contents(project.evaluation) == first
    assert [path.name for path in project.evaluation.parent.iterdir()] == ["evaluation"]


def test_metrics_agree_with_the_table(
    project: Project, split: dict[str, NDArray[np.uint8]]
) -> None:
    result = evaluate(project, SETTINGS)
    assert result.images == len(split)
    assert result.digest == model_digest(project.candidate)
    with (project.evaluation / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * len(split)
    for system in ("model", "grey", "mean_color"):
        own = [row for row in rows if row["system"] == system]
        assert [row["id"] for row in own] == list(split)
        weights = np.array([float(row["weight"]) for row in own])
        for metric, value in result.means[system].items():
            assert round(value, 4) == value
            if metric == "colorfulness_difference":
                truth = result.means["truth"]["colorfulness"]
                expected = abs(result.means[system]["colorfulness"] - truth)
            else:
                column = np.array([float(row[metric]) for row in own])
                weighted = metric == "auc_rebalanced"
                expected = np.average(column, weights=weights if weighted else None)
            assert value == pytest.approx(expected, abs=2e-4), metric


def test_baselines_are_what_they_say(project: Project, split: dict[str, NDArray[np.uint8]]) -> None:
    result = evaluate(project, SETTINGS)
    assert result.means["grey"]["colorfulness"] == pytest.approx(0, abs=0.5)
    assert result.means["grey"]["colorfulness_difference"] > 5
    assert result.means["mean_color"]["colorfulness"] > result.means["grey"]["colorfulness"]
    assert result.means["grey"]["saturation_difference"] > 0.9


def test_pictures_show_grey_predicted_and_true(
    project: Project, split: dict[str, NDArray[np.uint8]]
) -> None:
    evaluate(project, SETTINGS)
    pixels = np.asarray(Image.open(project.evaluation / "pictures" / "02-coffee.png")).astype(int)
    assert pixels.shape == (64, 3 * 64, 3)
    grey, _, true = (pixels[:, 64 * part : 64 * (part + 1)] for part in range(3))
    assert np.ptp(grey, axis=-1).max() <= 2
    assert np.ptp(true, axis=-1).mean() > 20


def test_no_pictures_if_none_are_wanted(
    project: Project, split: dict[str, NDArray[np.uint8]]
) -> None:
    settings = SETTINGS.model_copy(update={"evaluation": Evaluation(size=64, pictures=0)})
    evaluate(project, settings)
    assert list((project.evaluation / "pictures").iterdir()) == []


def test_pictures_are_spread_over_the_sorted_ids() -> None:
    ids = [f"{index:02d}" for index in reversed(range(21))]
    assert choose(ids, 3) == ["00", "10", "20"]
    assert choose(ids, 1) == ["00"]
    assert choose(ids[:2], 12) == ["19", "20"]
    assert choose(ids, 0) == []


def test_a_failure_leaves_the_old_report(
    project: Project, split: dict[str, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(project, SETTINGS)
    before = contents(project.evaluation)

    def fail(*args: object) -> Never:
        raise KeyboardInterrupt

    monkeypatch.setattr("chromaflow.steps.evaluate.write_pictures", fail)
    with pytest.raises(KeyboardInterrupt):
        evaluate(project, SETTINGS)
    assert contents(project.evaluation) == before
    assert len(list(project.evaluation.parent.iterdir())) == 1


def test_missing_shards_are_told(project: Project) -> None:
    with pytest.raises(DataError, match=r"test(.|\n)*chromaflow preprocess"):
        evaluate(project, SETTINGS)
    assert not project.evaluation.exists()


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"mean_ab": [1]}', '{"mean_ab": "ab"}'])
def test_unusable_statistics_are_told(
    project: Project, split: dict[str, NDArray[np.uint8]], text: str | None
) -> None:
    path = project.lab / "statistics.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=r"statistics.json(.|\n)*chromaflow preprocess"):
        evaluate(project, SETTINGS)


def test_a_missing_candidate_is_told(project: Project, split: dict[str, NDArray[np.uint8]]) -> None:
    (project.candidate / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        evaluate(project, SETTINGS)
