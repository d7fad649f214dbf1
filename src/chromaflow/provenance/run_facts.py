"""What a run was made from: code, environment, machine, settings and data, with their hashes."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from chromaflow.project import dvc, files
from chromaflow.project.addresses import public_address
from chromaflow.project.paths import Project
from chromaflow.provenance.data_facts import data_counts, data_facts
from chromaflow.provenance.facts import CodeFacts, FlowFacts, LockFacts, RunFacts
from chromaflow.settings import Settings

_DIFF_BYTES = 1 << 20
# A record is kept for years and read by many; what usually holds passwords never enters it.
_SECRET_FILES = (".env*", "*.env", "*.pem", "*.key", "*secret*", "*credential*", "*password*")
# These change with every retraining and are recorded whole, so they do not make the code unclean.
_RECORDED_FILES = (
    *("data.dvc", "dvc.lock", "params.yaml", "releases.yaml"),
    "reports/validation/quality.json",
)
_NOT_IN_GIT = "none: no commit of git here"


@dataclass(frozen=True)
class Lineage:
    """What a run was made from.

    Args:
        facts: What its tags say.
        texts: Whole files, name and content, for those that are there.
    """

    facts: RunFacts
    texts: Mapping[str, str] = field(default_factory=dict)


def collect(project: Project, settings: Settings, moment: str) -> Lineage:
    """Gather what a run is made from; what is missing is said, never an error.

    Args:
        project: The checkout.
        settings: Of the run.
        moment: Why now, as "when the training began".
    """
    records = {}
    texts = {
        "environment/packages.txt": _packages(),
        "environment/machine.json": json.dumps(machine(settings), indent=2) + "\n",
        "git/uncommitted.diff": _diff(project),
    }
    kept = {
        # Under its own name DVC would take the copy for a record of this checkout.
        "data.dvc.txt": project.raw_record,
        "params.yaml": project.params,
        "quality.json": project.quality_record,
        "releases.yaml": project.releases,
        "requirements.lock": project.lock,
        "validation.json": project.validated / "validation.json",
    }
    for name, path in kept.items():
        if path.is_file():
            texts[name] = path.read_text(encoding="utf-8", errors="replace")
            records[path.name] = files.sha256_of(path)
    facts = RunFacts(
        code_facts(project),
        data_facts(project),
        data_counts(project),
        seed=str(settings.seed),
        records=records,
        flow=FlowFacts.from_environment(),
        moment=moment,
    )
    return Lineage(
        facts=facts,
        texts={f"lineage/{name}": text for name, text in texts.items() if text},
    )


def _git(project: Project, *arguments: str, limit: int = 1 << 16) -> str | None:
    """Standard output of a git command, at most `limit` bytes; None where it failed."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        result = subprocess.run(
            ["git", "-C", str(project.root), *arguments],
            capture_output=True,
            env=environment,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if result.returncode != 0:
        return None
    text = result.stdout[:limit].decode("utf-8", errors="replace")
    if len(result.stdout) > limit:
        text += f"\n[cut: {len(result.stdout)} bytes in all]\n"
    return text


def git_commit(project: Project) -> str:
    """The commit that is checked out; where there is none, a text that says so."""
    return (_git(project, "rev-parse", "HEAD") or _NOT_IN_GIT).strip()


def code_facts(project: Project) -> CodeFacts:
    """Commit, branch, and whether the code differs from the commit, with the files that do.

    The settings and the records of DVC do not count as code: they are recorded whole.
    """
    commit = git_commit(project)
    if commit == _NOT_IN_GIT:
        return CodeFacts(commit)
    branch = (_git(project, "rev-parse", "--abbrev-ref", "HEAD") or "").strip()
    status = _git(project, "status", "--porcelain", "-z") or ""
    names = sorted({entry[3:] for entry in status.split("\0") if len(entry) > 3})
    changed = [name for name in names if name not in _RECORDED_FILES]
    return CodeFacts(commit, branch, "true" if changed else "false", ", ".join(changed))


def _diff(project: Project) -> str:
    """The uncommitted changes of tracked files, without those that usually hold secrets."""
    excluded = [f":(exclude,icase,glob)**/{pattern}" for pattern in _SECRET_FILES]
    options = ["--no-ext-diff", "--no-textconv", "--no-color"]
    return _git(project, "diff", "HEAD", *options, "--", ".", *excluded, limit=_DIFF_BYTES) or ""


def lock_of_candidate(project: Project) -> tuple[LockFacts, bytes]:
    """What `dvc.lock` says of how the candidate was made, and the whole file.

    DVC writes a stage's entry when its command has ended, so a training cannot know its own: while
    it runs, the entry is about the weights before.

    Returns:
        Without such an entry, as after a training that DVC did not start, a text that says so, and
        nothing.
    """
    path = project.root / "dvc.lock"
    content = path.read_bytes() if path.is_file() else b""
    output = project.candidate.relative_to(project.root).as_posix()
    found = dvc.history(content, output, dvc.folder_md5(project.candidate))
    if not found:
        return LockFacts("none: no entry of dvc.lock is about these weights"), b""
    return LockFacts(hashlib.sha256(content).hexdigest(), found), content


def _sha256_of(path: Path) -> str:
    """The digest of a file; empty where there is none."""
    return files.sha256_of(path) if path.is_file() else ""


def _packages() -> str:
    pairs = {(d.metadata["Name"] or "?").lower(): d.version for d in metadata.distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(pairs.items()))


def machine(settings: Settings) -> dict[str, Any]:
    """Python, system, processor, threads and accelerators of this machine."""
    facts: dict[str, Any] = {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": settings.training.threads,
        "accelerators": [],
    }
    torch = sys.modules.get("torch")  # Where it is not loaded, nothing was trained here.
    if torch is not None:
        facts["torch"] = str(torch.__version__)
        if torch.cuda.is_available():
            count = range(torch.cuda.device_count())
            facts["accelerators"] = [torch.cuda.get_device_name(index) for index in count]
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def parameters(settings: Settings) -> dict[str, str]:
    """Every setting by its full name, as text."""
    flat: dict[str, str] = {}
    for name, value in settings.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": str(inner) for key, inner in value.items()}
        else:
            flat[name] = str(value)
    flat["tracking.uri"] = public_address(flat["tracking.uri"])
    return flat
