"""Every command in README and docs is one that exists, with options that exist."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from chromaflow import settings
from chromaflow.cli.main import app
from chromaflow.colorize.hints import read_hints
from chromaflow.metrics.catalog import METRICS
from chromaflow.project.paths import Project

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "mlflow" / "README.md",
]


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [
        line.strip()
        for block in blocks
        for line in block.splitlines()
        if line.strip()[:1] not in "#"
    ]


def documented(program: str) -> list[str]:
    found = {line for page in PAGES for line in commands(page)}
    return sorted(line for line in found if shlex.split(line)[0] == program)


@pytest.mark.parametrize("line", documented("chromaflow"))
def test_a_chromaflow_command_parses(line: str) -> None:
    arguments = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    while subcommands := getattr(command, "commands", None):
        command = subcommands[arguments.pop(0)]
    assert command.make_context(command.name, arguments).params


@pytest.mark.parametrize(
    "line", [x for x in documented("chromaflow") if re.search("--(set|preset|recipe) ", x)]
)
def test_a_chromaflow_command_sets_what_there_is(project: Project, line: str) -> None:
    words = shlex.split(line)
    given: dict[str, list[str]] = {name: [] for name in ("--preset", "--recipe", "--set")}
    for option, value in pairwise(words):
        if option in given:
            given[option].append(value)
    recipe = "".join(given["--recipe"])
    settings.load(project, "".join(given["--preset"]), given["--set"], recipe)


@pytest.mark.parametrize("line", documented("dvc"))
def test_a_dvc_command_parses(line: str) -> None:
    from dvc.cli import parse_args

    parse_args(shlex.split(line)[1:])


@pytest.mark.parametrize("line", documented("make"))
def test_a_make_target_is_there(line: str) -> None:
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(shlex.split(line)[1:]) <= set(targets)


@pytest.mark.parametrize("line", [*documented("python"), *documented("taskset")])
def test_a_benchmark_is_there_with_its_options(line: str) -> None:
    words = shlex.split(line)
    script = ROOT / words[words.index("python") + 1]
    text = script.read_text(encoding="utf-8")
    for option in (word for word in words[words.index("python") :] if word.startswith("--")):
        assert re.search(rf'"(--)?{option[2:]}"', text), option


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "hints").glob("*.json")), ids=lambda p: p.stem
)
def test_hints_are_read(path: Path) -> None:
    assert read_hints(path) is not None


def test_the_table_of_metrics_is_that_of_the_catalog() -> None:
    rows = [
        f"| {metric.label} | {metric.direction.replace('none', '')} | {metric.meaning} |".replace(
            "  ", " "
        )
        for metric in METRICS.values()
    ]
    assert "\n".join(rows) in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_the_table_of_commands_is_whole() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    for info in app.registered_commands:
        assert info.callback is not None
        assert f"`chromaflow {info.name or info.callback.__name__}`" in text


def test_the_files_and_folders_of_the_architecture_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_/]+(?:\.py|/))`", text)
    source = ROOT / "src" / "chromaflow"
    there = [f"/{path.relative_to(ROOT).as_posix()}/" for path in source.rglob("*")]
    there += [f"/{path.name}/" for path in ROOT.iterdir()]
    there += [f"/flows/{path.name}/" for path in (ROOT / "flows").iterdir()]
    there += [f"/tests/{path.name}/" for path in (ROOT / "tests").iterdir()]
    missing = [
        name for name in named if not any(path.endswith(f"/{name.strip('/')}/") for path in there)
    ]
    assert len(named) > 60
    assert not missing


def test_every_package_stands_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = [path for path in (ROOT / "src" / "chromaflow").iterdir() if path.is_dir()]
    packages = [path.name for path in folders if (path / "__init__.py").is_file()]
    assert not [name for name in packages if f"| `{name}/` |" not in text]
