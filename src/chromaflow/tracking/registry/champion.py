"""The champion: its summary, and the copy of its model folder on this machine."""

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from chromaflow.project import files
from chromaflow.tracking.registry.lookup import Version


@dataclass(frozen=True)
class ChampionSummary:
    """What is known of the champion.

    Args:
        model: Name of the registered model.
        version: Its number.
        digest: SHA-256 of the model folder.
        since: When it was decided upon, or else when it was registered; ISO 8601, UTC.
        decided: When it was decided upon, by the ledger of this checkout; None where the champion
            was named by hand or from another checkout.
        metrics: Of the held-out images, measured before it was registered.
        run_id: The run that trained it.
        git_commit: The commit that it was made from; empty where that is not known.
        data_md5: The MD5 of the raw snapshot in `data.dvc`.
    """

    model: str
    version: int
    digest: str
    since: str
    decided: str | None
    metrics: Mapping[str, float]
    run_id: str
    git_commit: str
    data_md5: str

    @classmethod
    def of(cls, version: Version, decision: Mapping[str, Any] | None) -> Self:
        """Summarize a version.

        Args:
            version: The champion.
            decision: The entry of the ledger that made it champion, or None.
        """
        facts = version.facts
        created = datetime.fromtimestamp(version.created / 1000, UTC)
        decided = decision["time"] if decision else None
        return cls(
            model=version.model,
            version=version.version,
            digest=version.digest,
            since=decided or created.isoformat(timespec="seconds"),
            decided=decided,
            metrics=dict(facts.metrics),
            run_id=version.run_id,
            git_commit=facts.run.code.known_commit,
            data_md5=facts.run.data.raw_md5,
        )


def cached_folder(cache: Path, version: Version, verified: AbstractContextManager[Path]) -> Path:
    """The copy of a version's model folder, its digest recomputed; made where there is none.

    Args:
        cache: Holds the copies, one folder a digest.
        version: Of the registered model.
        verified: Gives the folder that the registry holds; entered where the copy has to be made.

    Raises:
        ModelError: The artifact is gone or was changed.
        ServerError: MLflow does not answer.
    """
    cached = cache / version.digest
    if version.digest and cached.is_dir() and files.digest_of_folder(cached) == version.digest:
        return cached
    with verified as folder, files.atomic_folder(cached) as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    return cached
