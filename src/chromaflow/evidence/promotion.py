"""Whether the candidate takes the champion's place: evidence, decision, entry in the ledger."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chromaflow.errors import ModelError
from chromaflow.evaluation.baselines import BASELINES
from chromaflow.metrics.catalog import METRICS
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.provenance import ledger
from chromaflow.provenance.code_facts import git_commit
from chromaflow.provenance.facts import VersionFacts
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect, told, tracking_uri
from chromaflow.tracking.registry.lookup import ALIAS, Version, champion, version_of
from chromaflow.tracking.registry.register import candidate_digest, read_metrics, verified_folder

if TYPE_CHECKING:
    from chromaflow.evaluation.bootstrap import Gain
    from chromaflow.evaluation.measure import Measurements

_EVALUATE = "dvc repro evaluate"


def promote(project: Project, settings: Settings) -> dict[str, Any]:
    """Make the candidate the champion if the held-out images say that it is better.

    Against a champion, both are compared image by image on the current test split; without one, the
    candidate has to beat both baselines. It is better if the gain is above zero in at least
    `promotion.confidence` of the resamples of a paired bootstrap. The decision is in the ledger
    before the alias moves, so a kill between the two leaves no champion without a decision; the
    next call decides again. What was decided on the same evidence is not decided twice.

    Returns:
        `promoted`, `reason` in a sentence, `model`, `version`, `digest`, `champion_before` and
        `champion_after` (version numbers or None), `metric`, and `gains`: rival to the bootstrap's
        numbers; `new` tells whether this call decided.

    Raises:
        ModelError: The candidate is not registered, an artifact was changed, the evaluation is of
            other images, or the ledger was changed. Nothing is promoted.
        ServerError: MLflow does not answer.
    """
    digest = candidate_digest(project)
    with project.alone("registry", wait=True):
        candidate = version_of(project, settings, digest)
        if candidate is None:
            name = settings.tracking.model
            raise ModelError(
                f"the candidate {digest[:12]}… has no version of {name}.", "chromaflow register"
            )
        reigning = champion(project, settings)
        if reigning is not None and reigning.digest == digest:
            return _reigns_already(project, candidate)
        evidence = _evidence(project, settings, digest, reigning)
        earlier = _decided(project, evidence)
        if earlier is not None:
            return {**earlier, "new": False}
        return _decide(project, settings, candidate, reigning, evidence)


def _reigns_already(project: Project, candidate: Version) -> dict[str, Any]:
    decision = ledger.find(project.ledger, candidate.facts.decision) or {}
    return {
        "gains": {},
        "metric": None,
        **decision,
        "model": candidate.model,
        "version": candidate.version,
        "digest": candidate.digest,
        "promoted": False,
        "reason": f"version {candidate.version} is already the champion",
        "champion_before": candidate.version,
        "champion_after": candidate.version,
        "new": False,
    }


def _evidence(project: Project, settings: Settings, digest: str, reigning: Version | None) -> str:
    """SHA-256 of all that a decision depends on."""
    read_metrics(project, digest)
    table = project.evaluation / "per_image.csv"
    if not table.is_file():
        raise ModelError(f"{table} is missing: nothing judged the candidate.", _EVALUATE)
    facts = {
        "candidate": digest,
        "champion": reigning.digest if reigning else None,
        "per_image": files.sha256_of(table),
        "promotion": settings.promotion.model_dump(),
        "evaluation": settings.evaluation.model_dump(),
        "seed": settings.seed,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _decided(project: Project, evidence: str) -> dict[str, Any] | None:
    """The refusal on the same evidence; a promotion that does not show was undone or cut short."""
    entries = [e for e in ledger.read(project.ledger) if e.get("evidence") == evidence]
    return entries[-1] if entries and not entries[-1]["promoted"] else None


def _decide(
    project: Project,
    settings: Settings,
    candidate: Version,
    reigning: Version | None,
    evidence: str,
) -> dict[str, Any]:
    with verified_folder(project, settings, candidate):
        pass
    gains = _gains(project, settings, reigning)
    confidence = settings.promotion.confidence
    promoted = all(gain.share >= confidence for gain in gains.values())
    entry = ledger.append(
        project.ledger,
        {
            "action": "promote" if promoted else "refuse",
            "promoted": promoted,
            "reason": _reason(settings, candidate, reigning, gains),
            "model": candidate.model,
            "version": candidate.version,
            "digest": candidate.digest,
            "champion_before": reigning.version if reigning else None,
            "champion_after": candidate.version if promoted else getattr(reigning, "version", None),
            "metric": settings.promotion.metric,
            "confidence": confidence,
            "gains": {rival: asdict(gain) for rival, gain in gains.items()},
            "metrics": dict(candidate.facts.metrics),
            "git_commit": git_commit(project),
            "evidence": evidence,
        },
    )
    if promoted:
        _crown(project, settings, candidate, entry["line"])
    return {**entry, "new": True}


def _crown(project: Project, settings: Settings, version: Version, line: str) -> None:
    client = connect(project, settings)
    with told(tracking_uri(project, settings)):
        for name, value in VersionFacts(decision=line).to_tags().items():
            client.set_model_version_tag(version.model, str(version.version), name, value)
        client.set_registered_model_alias(version.model, ALIAS, str(version.version))


def _gains(project: Project, settings: Settings, reigning: Version | None) -> dict[str, "Gain"]:
    """The candidate's gain over each rival: the champion, or both baselines."""
    from chromaflow.evaluation.bootstrap import compare  # noqa: PLC0415 (imports torch)
    from chromaflow.evaluation.measurements import read_table  # noqa: PLC0415

    measured = read_table(project.evaluation / "per_image.csv")
    own = measured.pop("model")
    if reigning is None:
        rivals = {name: measured[name] for name in BASELINES}
    else:
        rivals = {"champion": measure_champion(project, settings, reigning)}
    promotion = settings.promotion
    try:
        return {
            name: compare(
                own,
                rival,
                promotion.metric,
                resamples=promotion.resamples,
                interval=promotion.confidence,
                seed=settings.seed,
            )
            for name, rival in rivals.items()
        }
    except ValueError as error:
        raise ModelError(f"{project.evaluation} and data/lab/test: {error}.", _EVALUATE) from None


def measure_champion(project: Project, settings: Settings, version: Version) -> "Measurements":
    """Measure a version on the current test split, as `chromaflow evaluate` measures a candidate.

    Args:
        project: The checkout; `data/lab/test` is read.
        settings: Its `evaluation`, and of `training` the device and the threads.
        version: Of the registered model.

    Raises:
        DataError: The test split is missing or empty.
        ModelError: The artifact is gone, was changed, or cannot be used.
        ServerError: MLflow does not answer.
    """
    from chromaflow.evaluation.measure import (  # noqa: PLC0415 (imports torch)
        measure_model,
        model_to_measure,
    )

    with (
        verified_folder(project, settings, version) as folder,
        model_to_measure(folder, settings.training) as model,
    ):
        return measure_model(model, project.lab / "test", settings.evaluation)["model"]


def _reason(
    settings: Settings, candidate: Version, reigning: Version | None, gains: Mapping[str, "Gain"]
) -> str:
    confidence, metric = settings.promotion.confidence, settings.promotion.metric
    names = {name: one.noun for name, one in BASELINES.items()}
    if reigning:
        names = {"champion": f"champion version {reigning.version}"}
    parts = [
        f"{names[rival]} by {gain.mean:+.3g} {METRICS[metric].unit} "
        f"(above zero in {gain.share:.1%} of {gain.resamples} resamples of {gain.images} images)"
        for rival, gain in gains.items()
    ]
    evidence = " and ".join(parts)
    if all(gain.share >= confidence for gain in gains.values()):
        return f"version {candidate.version} is the new champion: it beats {evidence}"
    stays = f"version {reigning.version} stays champion" if reigning else "there is no champion yet"
    return (
        f"version {candidate.version} is not promoted, {stays}: it differs from {evidence}, "
        f"and {confidence:.0%} are required of each"
    )
