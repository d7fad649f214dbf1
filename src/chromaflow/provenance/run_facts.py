"""What a run was made from: code, environment, machine, settings and data, with their hashes."""

import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chromaflow.project import dvc
from chromaflow.project.addresses import public_address
from chromaflow.project.paths import Project
from chromaflow.provenance.code_facts import Patch, code_facts, uncommitted
from chromaflow.provenance.data_facts import data_counts, data_facts
from chromaflow.provenance.facts import FlowFacts, LockFacts, RunFacts
from chromaflow.settings import Settings, flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Lineage:
    """What a run was made from.

    Args:
        facts: What its tags say.
        contents: Whole files, name and content, for those that are there.
    """

    facts: RunFacts
    contents: Mapping[str, bytes] = field(default_factory=dict)


def collect(project: Project, settings: Settings, moment: str) -> Lineage:
    """Gather what a run is made from; what is missing is recorded, never an error.

    Args:
        project: The checkout.
        settings: Of the run.
        moment: Why now, as "when the training began".
    """
    code, patch = code_facts(project), Patch()
    if code.known_commit:
        patch = uncommitted(project)
    machine_text = json.dumps(machine(settings), indent=2) + "\n"
    records = _records(project)
    contents = {
        **records,
        "environment/packages.txt": _packages().encode(),
        "environment/machine.json": machine_text.encode(),
        "git/uncommitted.diff": patch.content,
    }
    facts = RunFacts(
        replace(code, changes_kept=patch.kept),
        data_facts(project),
        data_counts(project),
        seed=str(settings.seed),
        records={name: hashlib.sha256(content).hexdigest() for name, content in records.items()},
        flow=FlowFacts.from_environment(),
        moment=moment,
    )
    return Lineage(
        facts=facts,
        contents={f"lineage/{name}": content for name, content in contents.items() if content},
    )


def _records(project: Project) -> dict[str, bytes]:
    """The files of the checkout that are kept whole, those that are there."""
    paths = {
        # Under its own name DVC would take the copy for a record of this checkout.
        "data.dvc.txt": project.raw_record,
        "params.yaml": project.params,
        "quality.json": project.quality_record,
        "releases.yaml": project.waivers,
        "requirements.lock": project.requirements_lock,
        "validation.json": project.validation_report,
    }
    return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def log_files(client: "MlflowClient", run_id: str, contents: Mapping[str, bytes]) -> None:
    """Keep files with a run of MLflow, byte by byte.

    Args:
        client: Of MLflow.
        run_id: The run.
        contents: Name and content.
    """
    with tempfile.TemporaryDirectory(prefix="chromaflow-") as folder:
        for name, content in contents.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        client.log_artifacts(run_id, folder)


def lock_of_candidate(project: Project) -> tuple[LockFacts, bytes]:
    """What `dvc.lock` says of how the candidate was made, and the whole file.

    DVC writes a stage's entry when its command has ended, so a training cannot know its own: while
    it runs, the entry is about the weights before.

    Returns:
        Without such an entry, as after a training that DVC did not start, a text that says so, and
        nothing.
    """
    path = project.pipeline_lock
    content = path.read_bytes() if path.is_file() else b""
    output = project.candidate.relative_to(project.root).as_posix()
    found = dvc.history(content, output, dvc.folder_md5(project.candidate))
    if not found:
        return LockFacts("none: no entry of dvc.lock matches these weights"), b""
    return LockFacts(hashlib.sha256(content).hexdigest(), found), content


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
    """Every setting that applies by its full name, as files hold it."""
    flat = {name: str(value) for name, value in flatten(settings).items()}
    flat["tracking.uri"] = public_address(flat["tracking.uri"])
    return flat
