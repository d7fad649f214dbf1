"""The effect of promoting: evidence, decision, entry in the ledger, then the alias."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from chromaflow.errors import ModelError
from chromaflow.project import files
from chromaflow.provenance import ledger
from chromaflow.provenance.code_facts import git_commit
from chromaflow.tracking.registry.candidate import EVALUATE, read_metrics
from chromaflow.tracking.registry.lookup import Version
from chromaflow.tracking.registry.registry import Registry

if TYPE_CHECKING:
    from chromaflow.evidence.gate import Decision


@dataclass(frozen=True)
class PromoteResult:
    """What was decided of a candidate.

    Args:
        promoted: Whether it became champion by this decision.
        reason: Why or why not, in a sentence.
        model: Name of the registered model.
        version: Number of the candidate's version.
        digest: SHA-256 of its model folder.
        champion_before: Number of the version that was champion, or None.
        champion_after: Number of the version that is champion since, or None.
        metric: What decided; None where the ledger of this checkout does not tell.
        gains: Rival to the numbers of the bootstrap.
        new: Whether this call decided, rather than found an earlier decision.
        entry: Of the ledger, whole; empty where the ledger of this checkout holds none.
    """

    promoted: bool
    reason: str
    model: str
    version: int
    digest: str
    champion_before: int | None
    champion_after: int | None
    metric: str | None
    gains: Mapping[str, Any]
    new: bool
    entry: Mapping[str, Any]

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any], *, new: bool) -> Self:
        """What an entry of the ledger says."""
        own = {field.name for field in fields(cls)} - {"new", "entry"}
        return cls(**{name: entry[name] for name in own}, new=new, entry=entry)

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints: the entry of the ledger, and whether it is `new`."""
        own = {name: value for name, value in vars(self).items() if name != "entry"}
        return {**self.entry, **own}

    def summary(self) -> str:
        """The decision in a sentence."""
        return self.reason


def promote_candidate(registry: Registry, candidate: Version) -> PromoteResult:
    """Make a candidate the champion if the held-out images say that it is better.

    The decision is in the ledger before the alias moves, so a kill between the two leaves no
    champion without a decision; the next call decides again. What was decided on the same evidence
    is not decided twice.

    Args:
        registry: Of the checkout that evaluated the candidate; nothing else changes it meanwhile.
        candidate: The version of the candidate.

    Raises:
        ModelError: An artifact was changed, the evaluation is of other images, or the ledger was
            changed. Nothing is promoted.
        ServerError: MLflow does not answer.
    """
    champion = registry.champion()
    if champion is not None and champion.digest == candidate.digest:
        return _already_champion(registry, candidate)
    evidence = _evidence_digest(registry, candidate, champion)
    earlier = _earlier_refusal(registry, evidence)
    if earlier is not None:
        return PromoteResult.of_entry(earlier, new=False)
    with registry.verified_folder(candidate):
        decision = _decide(registry, champion)
    entry = _record(registry, candidate, champion, decision, evidence)
    if decision.promoted:
        registry.set_champion(candidate, entry["line"])
    return PromoteResult.of_entry(entry, new=True)


def _already_champion(registry: Registry, candidate: Version) -> PromoteResult:
    entry = ledger.find(registry.project.ledger, candidate.facts.decision) or {}
    return PromoteResult(
        promoted=False,
        reason=f"version {candidate.version} is already the champion",
        model=candidate.model,
        version=candidate.version,
        digest=candidate.digest,
        champion_before=candidate.version,
        champion_after=candidate.version,
        metric=entry.get("metric"),
        gains=entry.get("gains", {}),
        new=False,
        entry=entry,
    )


def _evidence_digest(registry: Registry, candidate: Version, champion: Version | None) -> str:
    """SHA-256 of all that a decision depends on."""
    project, settings = registry.project, registry.settings
    read_metrics(project, candidate.digest)
    table = project.evaluation / "per_image.csv"
    if not table.is_file():
        raise ModelError(f"{table} is missing: the candidate has not been evaluated.", EVALUATE)
    facts = {
        "candidate": candidate.digest,
        "champion": champion.digest if champion else None,
        "per_image": files.sha256_of(table),
        "promotion": settings.promotion.model_dump(),
        "evaluation": settings.evaluation.model_dump(),
        "seed": settings.seed,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _earlier_refusal(registry: Registry, evidence: str) -> dict[str, Any] | None:
    """The refusal on the same evidence; a promotion that does not show was undone or cut short."""
    entries = [e for e in ledger.read(registry.project.ledger) if e.get("evidence") == evidence]
    return entries[-1] if entries and not entries[-1]["promoted"] else None


def _decide(registry: Registry, champion: Version | None) -> "Decision":
    """Measure the champion, if there is one, and let the gate decide."""
    from chromaflow.evaluation.measurements import read_table  # noqa: PLC0415 (imports torch)
    from chromaflow.evidence import champion_measurements, gate  # noqa: PLC0415
    from chromaflow.evidence.policies import Rival, policies  # noqa: PLC0415

    project = registry.project
    table = project.evaluation / "per_image.csv"
    measured = read_table(table)
    if "model" not in measured:
        raise ModelError(f"{table} has no measurements of the model.", EVALUATE)
    rival = None
    if champion is not None:
        again = champion_measurements.measure_champion(registry, champion)
        rival = Rival("champion", f"champion version {champion.version}", again)
    try:
        rivals = gate.rivals_of(measured, rival)
        return gate.decide(measured["model"], rivals, policies(registry.settings))
    except ValueError as error:
        raise ModelError(f"{project.evaluation} and data/lab/test: {error}.", EVALUATE) from None


def _record(
    registry: Registry,
    candidate: Version,
    champion: Version | None,
    decision: "Decision",
    evidence: str,
) -> dict[str, Any]:
    """Append the decision to the ledger; the entry as written."""
    before = champion.version if champion else None
    return ledger.append(
        registry.project.ledger,
        {
            **decision.numbers,
            "action": "promote" if decision.promoted else "refuse",
            "promoted": decision.promoted,
            "reason": _reason(candidate, champion, decision),
            "model": candidate.model,
            "version": candidate.version,
            "digest": candidate.digest,
            "champion_before": before,
            "champion_after": candidate.version if decision.promoted else before,
            "metrics": dict(candidate.facts.metrics),
            "git_commit": git_commit(registry.project),
            "evidence": evidence,
        },
    )


def _reason(candidate: Version, champion: Version | None, decision: "Decision") -> str:
    if decision.promoted:
        return f"version {candidate.version} is the new champion: {decision.reason}"
    stays = f"version {champion.version} stays champion" if champion else "there is no champion yet"
    return f"version {candidate.version} is not promoted, {stays}: {decision.reason}"
