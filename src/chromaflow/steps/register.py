"""`chromaflow register`: register the candidate as a model version."""

from dataclasses import asdict, dataclass
from typing import Any

from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.registry.candidate import candidate_digest
from chromaflow.tracking.registry.register import register_candidate
from chromaflow.tracking.registry.registry import Registry


@dataclass(frozen=True)
class RegisterResult:
    """The version of the candidate.

    Args:
        model: Name of the registered model.
        version: Its number.
        digest: SHA-256 of the model folder.
        run_id: The run that trained it.
        created: Whether this call made the version, rather than found it.
    """

    model: str
    version: int
    digest: str
    run_id: str
    created: bool

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return asdict(self)

    def summary(self) -> str:
        """The version, and whether it is new."""
        state = "registered" if self.created else "is registered already"
        return f"{self.model} version {self.version} {state}"


def register(project: Project, settings: Settings) -> RegisterResult:
    """Give the candidate a version in the registry; the same weights are never two versions.

    Args:
        project: The checkout.
        settings: Its settings.

    Raises:
        ModelError: There is no candidate, or its evaluation is missing or of another model.
        ServerError: MLflow does not answer.
    """
    digest = candidate_digest(project)
    registry = Registry(project, settings)
    with project.lock("registry", wait=True):
        found = registry.version_of(digest)
        version = found or register_candidate(registry, digest)
    return RegisterResult(
        version.model, version.version, digest, version.run_id, created=found is None
    )
