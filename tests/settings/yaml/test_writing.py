"""What is written is read back equal, and shows what applies."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chromaflow import settings
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.settings.drawing import any_settings

ROOT = Path(__file__).resolve().parents[3]


def test_the_committed_params_are_the_sample_preset() -> None:
    checkout = Project(ROOT)
    expected = settings.render(settings.load(checkout, "sample"))
    assert (ROOT / "params.yaml").read_text() == expected


def test_rendered_settings_read_back_equal(project: Project) -> None:
    values = settings.load(
        project,
        overrides=["training.steps=7", "preprocess.shard_size=3MiB", "flow.retry_delay=2min"],
    )
    settings.save(project, values)
    assert settings.load(project) == values
    assert values.preprocess.shard_size == 3 * 2**20
    assert values.flow.retry_delay == 120


@given(any_settings())
def test_any_settings_survive_the_file(values: Settings) -> None:
    text = settings.render(values)
    assert Settings.model_validate(yaml.safe_load(text)) == values
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    assert all("  # " in line and not line.endswith("# None") for line in lines)


@given(st.floats(1e-9, 1, exclude_min=True), st.integers(1, 2**45), st.integers(0, 10**6))
def test_numbers_survive_the_file(rate: float, size: int, delay: int) -> None:
    values = Settings.model_validate(
        {
            "training": {"learning_rate": rate},
            "preprocess": {"shard_size": f"{size}B"},
            "flow": {"retry_delay": f"{delay}s"},
        }
    )
    assert Settings.model_validate(yaml.safe_load(settings.render(values))) == values


def test_only_what_applies_is_written(project: Project) -> None:
    text = settings.render(settings.load(project, overrides=["source.name=urls"]))
    source: dict[str, Any] = yaml.safe_load(text)["source"]
    assert {"name", "table", "images"} <= source.keys()
    assert not {"folder", "archive", "repository", "tile"} & source.keys()
    assert "  name: urls  # coco, cvcl, folder, huggingface," in text


def test_changed_names_what_differs() -> None:
    new = Settings.model_validate({"seed": 3, "training": {"steps": 5}})
    assert settings.changed(Settings(), new) == [("seed", 17, 3), ("training.steps", 1000, 5)]


def test_changed_names_what_one_of_both_has() -> None:
    new = Settings.model_validate({"source": {"name": "folder", "folder": "photographs"}})
    assert settings.changed(Settings(), new) == [
        ("source.name", "sample", "folder"),
        ("source.folder", None, "photographs"),
        ("source.tile", 128, None),
    ]


def test_settings_are_flat_by_their_full_names() -> None:
    flat = settings.flatten(Settings())
    assert (flat["seed"], flat["source.name"], flat["flow.retry_delay"]) == (17, "sample", "5s")
    assert flat["download.mirrors"] == {}


@pytest.mark.parametrize("text", ["1e5", "12e34567", "30s", "2GiB", "true", "null", "", "a: b"])
def test_a_text_that_looks_like_something_else_stays_a_text(project: Project, text: str) -> None:
    source = {"name": "cvcl", "archive": text, "categories": [text]}
    saved = Settings.model_validate({"source": source})
    settings.save(project, saved)
    assert settings.load(project) == saved
