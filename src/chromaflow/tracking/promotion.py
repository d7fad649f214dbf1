"""Whether the candidate takes the champion's place: evidence, decision, entry in the ledger."""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chromaflow import files
from chromaflow.errors import ModelError
from chromaflow.project import Project
from chromaflow.settings import Settings
from chromaflow.tracking import ledger
from chromaflow.tracking.client import connect, told, tracking_uri
from chromaflow.tracking.glance import ALIAS, Version, champion, version_of
from chromaflow.tracking.lineage import git_commit
from chromaflow.tracking.registry import candidate_digest, read_metrics, verified_folder

if TYPE_CHECKING:
    from chromaflow.evaluation.bootstrap import Gain
    from chromaflow.evaluation.evaluate import Measurements

BASELINES = {"grey": "grey", "mean_color": "the mean color"}
_UNITS = {
    "auc_rebalanced": "points of rebalanced AuC",
    "auc": "points of AuC",
    "psnr": "dB of PSNR",
    "delta_e_2000": "ΔE2000",
}
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
    decision = ledger.find(project.ledger, candidate.tags.get("ledger", "")) or {}
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
            "metrics": json.loads(candidate.tags.get("metrics", "{}")),
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
        client.set_model_version_tag(version.model, str(version.version), "ledger", line)
        client.set_registered_model_alias(version.model, ALIAS, str(version.version))


def _gains(project: Project, settings: Settings, reigning: Version | None) -> dict[str, "Gain"]:
    """The candidate's gain over each rival: the champion, or both baselines."""
    from chromaflow.evaluation.bootstrap import compare  # noqa: PLC0415 (imports torch)

    measured = _read_measurements(project.evaluation / "per_image.csv")
    own = measured.pop("model")
    if reigning is None:
        rivals = {name: measured[name] for name in BASELINES}
    else:
        rivals = {"champion": _measure_champion(project, settings, reigning)}
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


def _read_measurements(path: Path) -> dict[str, "Measurements"]:
    """The systems of `per_image.csv`, as they were measured (to 6 decimals)."""
    import numpy as np  # noqa: PLC0415

    from chromaflow.evaluation.evaluate import Measurements  # noqa: PLC0415 (imports torch)

    rows: dict[str, list[Mapping[str, str]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows.setdefault(row["system"], []).append(row)
        return {
            system: Measurements(
                tuple(row["id"] for row in own),
                {
                    name: np.array([float(row[name]) for row in own])
                    for name in own[0]
                    if name not in ("id", "system", "weight")
                },
                np.array([float(row["weight"]) for row in own]),
            )
            for system, own in rows.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is not the table that evaluation writes: {error}", _EVALUATE
        ) from None


def _measure_champion(project: Project, settings: Settings, reigning: Version) -> "Measurements":
    """The champion on the current test split, as the candidate was measured."""
    import torch  # noqa: PLC0415

    from chromaflow.evaluation.evaluate import Measurements, predict_and_measure  # noqa: PLC0415
    from chromaflow.models.folder import load_model  # noqa: PLC0415

    gpu = settings.training.accelerator != "cpu" and torch.cuda.is_available()
    with verified_folder(project, settings, reigning) as folder:
        model = load_model(folder, device="cuda" if gpu else "cpu")
    found = predict_and_measure(model, project.lab / "test", settings.evaluation)
    # As many decimals as the candidate's table, so that equal predictions give no gain.
    rounded = {name: values.round(6) for name, values in found.values.items()}
    return Measurements(found.ids, rounded, found.masses)


def _reason(
    settings: Settings, candidate: Version, reigning: Version | None, gains: Mapping[str, "Gain"]
) -> str:
    confidence, metric = settings.promotion.confidence, settings.promotion.metric
    names = {"champion": f"champion version {reigning.version}"} if reigning else BASELINES
    parts = [
        f"{names[rival]} by {gain.mean:+.3g} {_UNITS[metric]} "
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
