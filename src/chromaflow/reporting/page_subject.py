"""What a page is about: a version with its record, or a checkout whose candidate has none yet."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from chromaflow.project.paths import Project
from chromaflow.provenance.code_facts import code_facts
from chromaflow.provenance.data_facts import data_counts, data_facts
from chromaflow.provenance.facts import RunFacts
from chromaflow.provenance.run_facts import lock_of_candidate
from chromaflow.tracking.registry.candidate import read_metrics
from chromaflow.tracking.registry.lookup import Version


@dataclass(frozen=True)
class Subject:
    """What the page is about: a version and its record, or a checkout whose candidate has none.

    Args:
        facts: Of the version as it was recorded, else of the checkout as it is now.
        differences: What of the checkout is no longer what the version was made from, in sentences.
    """

    facts: RunFacts
    differences: tuple[str, ...] = ()


def subject(project: Project, version: Version | None) -> Subject:
    """The record of a version, or without one the facts of the checkout."""
    now = RunFacts(code_facts(project), data_facts(project))
    if version is not None:
        made = version.facts.run
        found = [*differences(made, now), *_measured_again(project, version)]
        return Subject(made, tuple(found))
    lock, _ = lock_of_candidate(project)
    return Subject(replace(now, counts=data_counts(project), lock=lock))


def differences(made: RunFacts, now: RunFacts) -> Iterator[str]:
    """Where a checkout is not what a version was made from, in sentences.

    Args:
        made: What is recorded of the version; what is not is passed over.
        now: The checkout.
    """
    used = made.lock.files.get("data/raw", made.data.raw_md5)
    if used != made.data.raw_md5:
        yield f"Its Lab shards were made from another snapshot than data.dvc named: MD5 {used}."
    for name, kind, before, after in (
        ("data/raw", "MD5 in data.dvc", made.data.raw_md5, now.data.raw_md5),
        ("manifest of data/raw", "SHA-256", made.data.raw_manifest, now.data.raw_manifest),
        (
            "table of accepted images",
            "SHA-256",
            made.data.validated_manifest,
            now.data.validated_manifest,
        ),
        ("data/lab", "SHA-256 of its indices", made.data.lab, now.data.lab),
        ("code", "SHA-256 of src/chromaflow", made.code.digest, now.code.digest),
    ):
        if before and after not in ("", before):
            yield f"Today's {name} differs: {kind} {after}."
        elif before and not after:
            yield f"Today this checkout has no {name}."


def _measured_again(project: Project, version: Version) -> Iterator[str]:
    """Whether the evaluation that stands here is not the one with which it was registered."""
    registered = dict(version.facts.metrics)
    if registered and read_metrics(project, version.digest)["model"] != registered:
        yield (
            "Its pictures and numbers were measured again after it was registered, and differ from "
            "those that the registry holds."
        )
