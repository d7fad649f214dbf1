import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chromaflow.cli import main
from chromaflow.data.quality import waivers
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.validate import validate
from tests.support.manifests import row, rows, rows_of, write

GREY = f"{50:016x}"


@pytest.fixture
def checkout(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    write(project, [*rows(30), row(50, mean_chroma=1.0), row(51, width=60)])
    validate(project, Settings())
    subprocess.run(["git", "init", "--quiet", str(project.root)], check=True)
    for name, value in (("user.name", "Ann"), ("user.email", "ann@example.org")):
        subprocess.run(["git", "-C", str(project.root), "config", name, value], check=True)
    monkeypatch.chdir(project.root)
    return project


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main.app, ["quarantine", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_reasons_and_images_are_listed(checkout: Project) -> None:
    assert "1  min_chroma\n" in run("list")
    assert "2 images in quarantine, 0 released" in run("list")
    assert f"{GREY}  grey: mean chroma 1 is below" in run("list", "--reason", "min_chroma")
    assert json.loads(run("list", "--json"))["reasons"] == {"min_chroma": 1, "min_side": 1}


def test_release_and_recall_go_through_the_next_validation(checkout: Project) -> None:
    assert f"{GREY} released from min_chroma" in run("release", GREY, "--why", "fog")
    assert "by Ann <ann@example.org> at" in run("list")
    (entry,) = waivers.read(checkout)
    assert (entry.why, entry.sha256) == ("fog", f"{50:064x}")
    validate(checkout, Settings())
    assert GREY in rows_of(checkout.validated / "manifest.parquet")
    assert json.loads(run("recall", GREY, "--json"))[0]["id"] == GREY
    validate(checkout, Settings())
    assert GREY not in rows_of(checkout.validated / "manifest.parquet")


def test_a_release_needs_a_reason(checkout: Project) -> None:
    result = CliRunner().invoke(main.app, ["quarantine", "release", GREY])
    assert result.exit_code == 2
    assert "--why" in result.output
    with pytest.raises(DataError, match="needs a reason"):
        run("release", GREY, "--why", " ")
    assert waivers.read(checkout) == []


def test_sheets_are_written_where_they_are_asked_for(checkout: Project, tmp_path: Path) -> None:
    assert "2 images on 1 pages" in run("sheet")
    assert (checkout.root / "reports" / "quarantine" / "index.html").is_file()
    found = json.loads(run("sheet", "--reason", "min_side", "-o", str(tmp_path / "x"), "--json"))
    assert (found["images"], found["index"]) == (1, str(tmp_path / "x" / "index.html"))
