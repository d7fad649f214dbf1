"""`chromaflow preprocess`: the accepted photographs as Lab shards."""

from dataclasses import asdict, dataclass
from typing import Any

from chromaflow.data.store.write import StoreSummary, write_store
from chromaflow.project.paths import Project
from chromaflow.settings import Settings


@dataclass(frozen=True)
class PreprocessResult:
    """What preprocessing came to: what is in `data/lab` now."""

    store: StoreSummary

    def to_json(self) -> dict[str, Any]:
        """The result as one object."""
        return asdict(self.store)

    def summary(self) -> str:
        """The result in one line for the terminal."""
        counts = ", ".join(f"{count} {split}" for split, count in self.store.images.items())
        return f"data/lab: {counts}"


def preprocess(project: Project, settings: Settings) -> PreprocessResult:
    """Write the Lab shards of the accepted photographs; those that are there already are kept.

    Args:
        project: The checkout.
        settings: `preprocess`, `source.max_pixels` and `runtime.processes` are used.

    Raises:
        UserError: As of `chromaflow.data.store.write.write_store`.
    """
    return PreprocessResult(write_store(project, settings))
