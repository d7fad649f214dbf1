"""The status of a checkout: champion, stale stages, unfinished trainings, servers."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from chromaflow.errors import UserError
from chromaflow.project import dvc
from chromaflow.project.paths import Project
from chromaflow.services.local import running
from chromaflow.settings import Settings
from chromaflow.tracking.registry.registry import Registry

_WORDS = {
    "modified": "changed",
    "deleted": "is missing",
    "new": "is new",
    "not in cache": "is not in DVC's cache",
}


def status(project: Project, settings: Settings) -> dict[str, Any]:
    """The status of a checkout, as JSON-compatible values.

    Returns:
        `serving`: the fields of `chromaflow.tracking.registry.champion.ChampionSummary`, or
        `{"remedy"}` where there is no champion yet. `stale`: for each stage the reasons, in words.
        `unfinished`: the trainings that were interrupted, `fingerprint` and `changed` (UTC) each.
        `servers`: the addresses of those that respond. A part that is unknown is
        `{"problem", "remedy"}`.
    """
    return {
        "serving": _or_problem(lambda: _champion(project, settings)),
        "stale": _or_problem(lambda: stale_stages(project)),
        "unfinished": unfinished(project),
        "servers": running(project, settings),
    }


def _champion(project: Project, settings: Settings) -> dict[str, Any]:
    found = Registry(project, settings).champion_summary()
    return asdict(found) if found else {"remedy": "chromaflow retrain"}


def _or_problem(ask: Any) -> Any:
    try:
        return ask()
    except UserError as error:
        return {"problem": error.problem, "remedy": error.remedy}


def stale_stages(project: Project) -> dict[str, list[str]]:
    """The stages that DVC would run, each with the reasons in words, in the order of `dvc.yaml`.

    Raises:
        ServerError: Another DVC command holds the checkout.
        UserError: DVC is missing or fails.
    """
    changes = dvc.stale(project)
    finished = _stages_of(project.pipeline_lock)
    order = {name: number for number, name in enumerate(_stages_of(project.pipeline))}
    return {
        "ingest" if name.endswith(".dvc") else name: (
            _reasons(changes[name])
            if name in finished or name.endswith(".dvc")
            else ["it has not run here"]
        )
        for name in sorted(changes, key=lambda name: order.get(name, -1))
    }


def _stages_of(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
        return list((yaml.safe_load(text) or {}).get("stages") or {})
    except (OSError, yaml.YAMLError, AttributeError):
        return []


def _reasons(changes: list[Any]) -> list[str]:
    """DVC's reasons in words, such as `setting training.steps changed`."""
    reasons: list[str] = []
    for change in changes:
        if change == "changed command":
            reasons.append("its command changed")
        elif change == "always changed":
            reasons.append("it runs every time")
        elif isinstance(change, Mapping):
            for kind, paths in change.items():
                reasons += _reasons_of_paths(kind, paths)
        else:
            reasons.append(str(change))
    return reasons


def _reasons_of_paths(kind: str, paths: Mapping[str, Any]) -> list[str]:
    reasons = []
    whose = "its output " if kind == "changed outs" else ""
    for path, state in paths.items():
        if isinstance(state, Mapping):
            reasons += [f"setting {name} {_WORDS.get(word, word)}" for name, word in state.items()]
        else:
            reasons.append(f"{whose}{path} {_WORDS.get(state, state)}")
    return reasons


def unfinished(project: Project) -> list[dict[str, str]]:
    """The trainings that were interrupted after a checkpoint, the latest first."""
    found = []
    for path in project.checkpoints.glob("*/last.ckpt"):
        # It is deleted when its training ends, which may be now.
        with contextlib.suppress(FileNotFoundError):
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            row = {"fingerprint": path.parent.name, "changed": changed.isoformat("T", "seconds")}
            found.append(row)
    return sorted(found, key=lambda row: row["changed"], reverse=True)


def render(result: Mapping[str, Any]) -> None:
    """Print the result of `status`, for people."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("champion", _words_of_serving(result["serving"]))
    table.add_row("stale", _words_of_stale(result["stale"]))
    for row in result["unfinished"]:
        line = f"training {row['fingerprint'][:12]}, last saved {row['changed']}"
        remedy = "chromaflow retrain resumes it, if code, data and settings are the same"
        table.add_row("unfinished", f"{line}\n→ {remedy}")
    servers = [f"{name} {address}" for name, address in result["servers"].items()]
    table.add_row("servers", "\n".join(servers) or "none running → chromaflow up")
    Console(highlight=False, markup=False).print(table)


def _words_of_problem(part: Mapping[str, Any]) -> str:
    return f"unknown: {part['problem']}" + (f"\n→ {part['remedy']}" if part["remedy"] else "")


def _words_of_serving(part: Mapping[str, Any]) -> str:
    if "problem" in part:
        return _words_of_problem(part)
    if "version" not in part:
        return f"none yet → {part['remedy']}"
    metrics = [f"{name} {value:.4g}" for name, value in sorted(part["metrics"].items())]
    lines = [
        f"{part['model']} version {part['version']}, champion since {part['since']}",
        f"weights {part['digest'][:12]}, commit {part['git_commit'][:12] or 'unknown'}",
        ", ".join(metrics),
    ]
    return "\n".join(line for line in lines if line)


def _words_of_stale(part: Mapping[str, Any]) -> str:
    if "problem" in part:
        return _words_of_problem(part)
    lines = [f"{name}: {', '.join(reasons)}" for name, reasons in part.items()]
    return "\n".join(lines) + "\n→ chromaflow retrain" if lines else "nothing"
