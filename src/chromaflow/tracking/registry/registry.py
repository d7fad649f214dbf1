"""The registry of a checkout: which versions there are, and which one is the champion."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chromaflow.errors import ModelError
from chromaflow.project.paths import Project
from chromaflow.provenance import ledger
from chromaflow.provenance.facts import VersionFacts
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect, tracking_uri, translate_errors
from chromaflow.tracking.registry import artifacts, lookup
from chromaflow.tracking.registry.champion import ChampionSummary, cached_folder
from chromaflow.tracking.registry.lookup import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
"""The alias of the champion version."""


@dataclass(frozen=True)
class Registry:
    """The versions of one registered model in MLflow.

    What only asks imports no MLflow where a quick answer is to be had, see `lookup`. Every method
    raises ServerError where MLflow does not answer.

    Args:
        project: The checkout.
        settings: Its `tracking` names MLflow and the model.
    """

    project: Project
    settings: Settings

    @property
    def model(self) -> str:
        """Name of the registered model."""
        return self.settings.tracking.model

    @property
    def uri(self) -> str:
        """The address of MLflow."""
        return tracking_uri(self.project, self.settings)

    def connect(self) -> "MlflowClient":
        """MLflow's own client, which alone can change the registry; imports MLflow."""
        return connect(self.project, self.settings)

    def champion(self) -> Version | None:
        """The version that carries the alias, or None."""
        return lookup.find(self.uri, self.model, self.connect, alias=ALIAS)

    def version_of(self, digest: str) -> Version | None:
        """The first version with these weights, or None.

        Args:
            digest: SHA-256 of the model folder.
        """
        return lookup.find(self.uri, self.model, self.connect, digest=digest)

    def set_champion(self, version: Version, decision_line: str) -> None:
        """Note the decision on a version, then let it serve.

        Args:
            version: Of this model.
            decision_line: SHA-256 of the line of the ledger that decided it.
        """
        client, number = self.connect(), str(version.version)
        with translate_errors(self.uri):
            for name, value in VersionFacts(decision=decision_line).to_tags().items():
                client.set_model_version_tag(version.model, number, name, value)
            client.set_registered_model_alias(version.model, ALIAS, number)

    def verified_folder(self, version: Version) -> AbstractContextManager[Path]:
        """The model folder of a version as the registry holds it now, its digest recomputed.

        Raises:
            ModelError: On entering: the artifact is gone, or is not what was registered.
        """
        return artifacts.verified_folder(version, self.connect)

    def champion_folder(self) -> Path:
        """The champion's model folder on this machine, its digest recomputed.

        Raises:
            ModelError: There is no champion, or its artifact is gone or was changed.
        """
        version = self.champion()
        if version is None:
            raise ModelError(
                f"{self.model} has no champion yet, so no model can color.",
                "chromaflow retrain, or give a model folder with --model",
            )
        return cached_folder(self.project.champions, version, self.verified_folder(version))

    def champion_summary(self) -> ChampionSummary | None:
        """What is known of the champion; None where there is none."""
        version = self.champion()
        if version is None:
            return None
        return ChampionSummary.of(version, ledger.find(self.project.ledger, version.facts.decision))
