import json
import subprocess
import sys
from pathlib import Path
from typing import Never

import pytest
from typer.testing import CliRunner

from chromaflow import settings
from chromaflow.cli import main
from chromaflow.errors import UserError
from chromaflow.project.paths import Project

HEAVY = ("cv2", "great_expectations", "litdata", "mlflow", "numpy", "pandas", "prefect", "torch")


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chromaflow", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from chromaflow.cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [info.name or info.callback.__name__ for info in main.app.registered_commands if info.callback],
)
def test_every_command_has_a_page_of_help(command: str) -> None:
    result = CliRunner().invoke(main.app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_mistake_is_a_sentence_and_an_exit_code(project: Project, tmp_path: Path) -> None:
    result = run("settings", "--set", "training.step=3", folder=project.root)
    assert result.returncode == 2
    assert "did you mean training.steps" in result.stderr
    assert "Traceback" not in result.stderr


def test_outside_a_checkout(tmp_path: Path) -> None:
    result = run("train", folder=tmp_path)
    assert result.returncode == 2
    assert "not in a chromaflow checkout" in result.stderr


def test_settings_are_shown_for_people_and_for_scripts(project: Project) -> None:
    plain = run("settings", folder=project.root)
    assert plain.stdout == settings.render(settings.Settings())
    values = json.loads(run("settings", "--json", "--set", "seed=3", folder=project.root).stdout)
    assert values["seed"] == 3
    listed = run("settings", "--presets", folder=project.root)
    assert listed.stdout.split() == settings.preset_names(project)


def test_settings_are_written_where_it_is_asked_for(project: Project) -> None:
    before = project.params.read_bytes()
    run("settings", "--set", "source.name=urls", folder=project.root)
    assert project.params.read_bytes() == before
    shown = run("settings", "--set", "source.name=urls", "--write", folder=project.root).stdout
    assert project.params.read_text() == shown
    assert "  name: urls" in shown


def test_version() -> None:
    assert CliRunner().invoke(main.app, ["--version"]).output.startswith("chromaflow ")


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (UserError("params.yaml is broken.", "fix it"), 2, "fix it"),
        (
            OSError(28, "No space left on device", "data/raw"),
            2,
            "disk is full while writing data/raw",
        ),
        (PermissionError(13, "Permission denied", "data/raw"), 2, "no permission for data/raw"),
        (KeyboardInterrupt(), 130, "goes on from here"),
    ],
)
def test_what_is_told_instead_of_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    message: str,
) -> None:
    def fail() -> Never:
        raise raised

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == code
    assert message in capsys.readouterr().err


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Never:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(OSError, match="Input/output"):
        main.main()
