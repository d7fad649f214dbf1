"""`chromaflow promote`: make the candidate the champion, or report why not."""

from chromaflow.errors import ModelError
from chromaflow.evidence.promotion import PromoteResult, promote_candidate
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.registry.candidate import candidate_digest
from chromaflow.tracking.registry.registry import Registry

__all__ = ["PromoteResult", "promote"]


def promote(project: Project, settings: Settings) -> PromoteResult:
    """Make the candidate the champion if the held-out images say that it is better.

    Against a champion, both are compared image by image on the current test split; without one, the
    candidate has to beat all baselines. See `chromaflow.evidence.policies` for the rules.

    Args:
        project: The checkout.
        settings: Its settings.

    Raises:
        ModelError: The candidate is not registered, an artifact was changed, the evaluation is of
            other images, or the ledger was changed. Nothing is promoted.
        ServerError: MLflow does not answer.
    """
    digest = candidate_digest(project)
    registry = Registry(project, settings)
    with project.lock("registry", wait=True):
        candidate = registry.version_of(digest)
        if candidate is None:
            raise ModelError(
                f"the candidate {digest[:12]}… has no version of {registry.model}.",
                "chromaflow register",
            )
        return promote_candidate(registry, candidate)
