"""The splits as MLflow datasets, named by the hashes of what they are made of."""

import json
from typing import TYPE_CHECKING

from chromaflow.data.snapshot.validation import ValidationReport
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.project.splits import SPLITS
from chromaflow.provenance.data_facts import data_facts
from chromaflow.provenance.facts import DataFacts

if TYPE_CHECKING:
    from mlflow.entities import Dataset, DatasetInput

# MLflow refuses a longer one; its own digest would look at the first rows of a table only.
_DIGEST_LENGTH = 36
_CONTEXT = {"train": "training", "validation": "validation", "test": "testing"}


def _dataset(project: Project, split: str, facts: DataFacts) -> "Dataset":
    from mlflow.entities import Dataset  # noqa: PLC0415 (seconds)

    digest = facts.lab or facts.validated_manifest or "unknown"
    counts = _counts(project)
    return Dataset(
        name=split,
        digest=digest[:_DIGEST_LENGTH],
        source_type="dvc",
        source=json.dumps({"path": f"data/lab/{split}", **facts.to_tags()}, sort_keys=True),
        profile=json.dumps({"images": counts[split]}) if split in counts else None,
    )


def _counts(project: Project) -> dict[str, int]:
    """Images of each split; empty where the checkout holds shards alone, as a training node."""
    try:
        return ValidationReport.read(project.validation_report).splits
    except DataError:
        return {}


def held_out_dataset(project: Project) -> "Dataset":
    """The held-out split, on which models are evaluated."""
    return _dataset(project, "test", data_facts(project))


def dataset_inputs(project: Project) -> "list[DatasetInput]":
    """All splits; the full SHA-256 of the manifest, which names every image, stands as a tag."""
    from mlflow.entities import DatasetInput, InputTag  # noqa: PLC0415 (seconds)

    facts = data_facts(project)
    sha256 = facts.validated_manifest
    inputs = []
    for split in SPLITS:
        tags = [InputTag("mlflow.data.context", _CONTEXT[split])]
        tags += [InputTag("manifest_sha256", sha256)] if sha256 else []
        inputs.append(DatasetInput(_dataset(project, split, facts), tags))
    return inputs
