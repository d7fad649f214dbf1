"""The candidate of a checkout: the digest of its model folder, and what its evaluation measured."""

import json
from typing import Any

from chromaflow.errors import ModelError
from chromaflow.project import files
from chromaflow.project.paths import Project

EVALUATE = "dvc repro evaluate"
"""What remedies a missing or foreign evaluation."""


def candidate_digest(project: Project) -> str:
    """The SHA-256 of the model folder that training wrote, in 64 hexadecimal digits.

    Raises:
        ModelError: There is none yet.
    """
    if not (project.candidate / "weights.safetensors").is_file():
        raise ModelError(f"{project.candidate} holds no trained model.", "chromaflow retrain")
    return files.digest_of_folder(project.candidate)


def read_metrics(project: Project, digest: str) -> dict[str, Any]:
    """The evaluation of the model with this digest, as `metrics.json` holds it.

    Raises:
        ModelError: There is none, or it is of another model.
    """
    path = project.evaluation / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path} is missing: the candidate has not been evaluated.", EVALUATE
        ) from None
    except ValueError:
        raise ModelError(f"{path} is not the JSON that evaluation writes.", EVALUATE) from None
    if metrics.get("digest", digest) != digest:
        raise ModelError(f"{path} is about other weights than the candidate's.", EVALUATE)
    return metrics
