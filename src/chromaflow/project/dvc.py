"""DVC, run as a command: it has no stable Python call for what the steps need."""

import hashlib
import json
import operator
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from chromaflow.errors import ServerError, UserError
from chromaflow.project import files
from chromaflow.project.packages import require_package
from chromaflow.project.paths import Project

_TERSE = """
import io, logging, sys
logging.disable(logging.INFO)
# Only what DVC itself says goes there: a stage writes to the descriptor.
sys.stdout = io.StringIO()
from dvc.cli import main
sys.exit(main(sys.argv[1:]))
"""
# DVC ends with the same exit code whatever went wrong, so only its output identifies the error.
_BUSY = ("is busy, it is being blocked by", "Unable to acquire lock")


def environment() -> dict[str, str]:
    """The environment for child processes: the programs of this interpreter come first."""
    programs = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}


def command(*arguments: str) -> list[str]:
    """The argument list that runs DVC with this interpreter."""
    return [sys.executable, "-m", "dvc", *arguments]


def terse_command(*arguments: str) -> list[str]:
    """The argument list that runs DVC without its remarks; its option --quiet hides errors, too."""
    return [sys.executable, "-c", _TERSE, *arguments]


def _run(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    require_package("dvc")
    return subprocess.run(
        command(*arguments),
        cwd=project.root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def stale(project: Project) -> dict[str, list[Any]]:
    """Stages whose inputs, settings, code or outputs changed, each with DVC's reasons.

    Raises:
        ServerError: Another DVC command holds the checkout.
        UserError: DVC is missing or fails, with its own message.
    """
    result = _run(project, "status", "--json")
    if result.returncode != 0:
        raise _explain("status", result.stderr)
    changes: dict[str, list[Any]] = json.loads(result.stdout)
    return changes


def _explain(name: str, text: str) -> UserError:
    """The error behind what DVC printed, which ends with advice rather than with the reason."""
    if any(word in text for word in _BUSY):
        holder = next((line.strip() for line in text.splitlines() if "PID" in line), "")
        return ServerError(
            f"another DVC command holds this checkout {holder}".strip() + ".",
            "wait until it is done",
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = next((line for line in lines if line.startswith("ERROR")), (lines or ["no message"])[0])
    return UserError(f"dvc {name} failed: {line.removeprefix('ERROR: ')}", f"dvc {name} --verbose")


def folder_md5(folder: Path) -> str:
    """The MD5 by which DVC knows a folder, over the names and MD5s of its files; ends in `.dir`."""
    listed = [
        {"md5": _md5(path.read_bytes()), "relpath": path.relative_to(folder).as_posix()}
        for path in folder.rglob("*")
        if path.is_file()
    ]
    listed.sort(key=operator.itemgetter("relpath"))
    return _md5(json.dumps(listed, sort_keys=True).encode()) + ".dir"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def history(lock: bytes, output: str, md5: str) -> dict[str, str]:
    """What a `dvc.lock` says of how an output was made.

    Args:
        lock: Content of the file.
        output: The output, as `dvc.yaml` names it.
        md5: Of the output; an entry about another one says nothing of it.

    Returns:
        Path to MD5 of the output, of the inputs and outputs of the stage that made it, and of those
        of the stages before as far as their outputs are these inputs. Empty where no entry made it.
    """
    try:
        stages = yaml.safe_load(lock)["stages"].values()
        entries = [(_md5s(stage, "deps"), _md5s(stage, "outs")) for stage in stages]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}
    found, count = {output: md5}, len(entries)
    while makers := [(i, o) for i, o in entries if o.items() & found.items()]:
        entries = [entry for entry in entries if entry not in makers]
        for inputs, outputs in makers:
            found = inputs | outputs | found
    return found if len(entries) < count else {}


def _md5s(stage: Mapping[str, Any], kind: str) -> dict[str, str]:
    return {entry["path"]: str(entry["md5"]) for entry in stage.get(kind, [])}


def _read_stages(project: Project) -> dict[str, Any]:
    """The stages of `dvc.yaml` by name, in its order; none where it cannot be read."""
    try:
        text = project.pipeline.read_text(encoding="utf-8")
        return dict(yaml.safe_load(text)["stages"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return {}


def _outputs(stage: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a stage writes: path to DVC's options."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    return {
        path: options
        for entry in entries
        for path, options in (entry if isinstance(entry, Mapping) else {entry: {}}).items()
    }


def with_dependents(project: Project, names: Collection[str]) -> list[str]:
    """Some stages of `dvc.yaml`, and those that read what these write, in its order."""
    stages, found, count = _read_stages(project), set(names), -1
    while len(found) > count:
        count = len(found)
        written = [path for name in found for path in _outputs(stages.get(name, {}))]
        found |= {name for name, stage in stages.items() if _reads(stage, written)}
    return [name for name in stages if name in found]


def _reads(stage: Mapping[str, Any], written: Collection[str]) -> bool:
    return any(_overlap(PurePosixPath(d), PurePosixPath(w)) for d in stage["deps"] for w in written)


def _overlap(first: PurePosixPath, second: PurePosixPath) -> bool:
    return first.is_relative_to(second) or second.is_relative_to(first)


def kept_in_git(project: Project) -> set[str]:
    """The paths that stages write and git keeps: `cache: false` in `dvc.yaml`."""
    try:
        outputs = [_outputs(stage) for stage in _read_stages(project).values()]
        written = {path: options for found in outputs for path, options in found.items()}
        return {path for path, options in written.items() if options.get("cache") is False}
    except (TypeError, AttributeError):
        return set()


def awaits(project: Project, output: str, content: Path) -> bool:
    """Whether DVC runs this process as a stage and has not recorded an output of it yet.

    Args:
        project: The checkout.
        output: The output, as `dvc.yaml` names it.
        content: A file that holds what the stage wrote there before it was killed.
    """
    stage = os.environ.get("DVC_STAGE")
    if not stage or not content.is_file():
        return False
    try:
        lock = yaml.safe_load(project.pipeline_lock.read_text(encoding="utf-8"))
        outputs = {out["path"]: out.get("md5") for out in lock["stages"][stage]["outs"]}
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return True
    return outputs.get(output) != _md5(content.read_bytes())


def _read_record(project: Project) -> dict[str, Any]:
    if not project.raw_record.is_file():
        return {}
    record = yaml.safe_load(project.raw_record.read_text(encoding="utf-8"))
    return dict(record) if isinstance(record, Mapping) else {}


def snapshot_digest(project: Project) -> str:
    """The MD5 by which DVC knows the raw snapshot; empty before the first ingest."""
    outputs = _read_record(project).get("outs") or [{}]
    return str(outputs[0].get("md5", ""))


def record_snapshot(project: Project) -> bool:
    """Bring `data.dvc` up to date with `data/raw`.

    DVC knows only MD5, so the SHA-256 of the manifest, which names the SHA-256 of every image,
    stands beside it as `meta`; equal to the manifest's, nothing needs to be hashed again.

    Returns:
        Whether the record changed.

    Raises:
        UserError: DVC could not take the snapshot into its cache.
    """
    manifest = files.sha256_of(project.raw_manifest)
    old = _read_record(project)
    before = snapshot_digest(project)
    if old.get("meta", {}).get("manifest_sha256") == manifest and before:
        # A clone that rebuilt the recorded snapshot has yet to add it to its cache.
        if not _is_cached(project, before):
            _commit_snapshot(project)
        return False
    record = {
        "outs": [{"path": project.raw.relative_to(project.root).as_posix(), "hash": "md5"}],
        "meta": {"manifest_sha256": manifest},
    }
    files.write_text(project.raw_record, yaml.safe_dump(record, sort_keys=False))
    _commit_snapshot(project)
    return snapshot_digest(project) != before


def _is_cached(project: Project, digest: str) -> bool:
    name = Path("files", "md5", digest[:2], digest[2:])
    # Asking DVC takes a second, and few move the cache.
    if (project.root / ".dvc" / "cache" / name).is_file():
        return True
    return Path(_run(project, "cache", "dir").stdout.strip(), name).is_file()


def _commit_snapshot(project: Project) -> None:
    result = _run(project, "commit", "--force", project.raw_record.name)
    if result.returncode != 0:
        raise _explain("commit", result.stderr)


def fetch_snapshot(project: Project) -> bool:
    """Get the recorded snapshot from a DVC remote, where there is a record, a remote and no data.

    Returns:
        Whether the snapshot is here now because it was fetched.
    """
    if (project.raw_manifest).is_file() or not snapshot_digest(project):
        return False
    if _run(project, "checkout", "--quiet", project.raw_record.name).returncode == 0:
        return True
    if not _run(project, "remote", "list").stdout.strip():
        return False
    return _run(project, "pull", "--quiet", project.raw_record.name).returncode == 0
