"""The tags of runs and model versions: the only place that writes and reads them."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

# MLflow refuses a longer tag of a run.
_LONGEST_TEXT = 8000
_FLOW_RUN = "CHROMAFLOW_FLOW_RUN_ID"
_FLOW_PAGE = "CHROMAFLOW_FLOW_RUN_URL"
ELSEWHERE = "none: chromaflow was imported from outside the checkout, with other code"
"""What stands for the commit where the checkout's is not that of the code that ran."""

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def _text(tag: str) -> Any:
    """A field that is the text of a tag; empty where there is no such tag."""
    return field(default="", metadata={"tag": tag})


def _table(tag: str) -> Any:
    """A field that is a mapping, which a tag holds as JSON; empty where there is no such tag."""
    return field(default_factory=dict, metadata={"tag": tag, "json": True})


@dataclass(frozen=True)
class _Tagged:
    """A record whose fields are tags, or records of the same kind."""

    def to_tags(self) -> dict[str, str]:
        """Name and value of each tag; what is empty has none."""
        tags: dict[str, str] = {}
        for own in fields(self):
            value = getattr(self, own.name)
            if isinstance(value, _Tagged):
                tags |= value.to_tags()
            elif value:
                as_json = "json" in own.metadata
                text = (
                    json.dumps(value, sort_keys=True, ensure_ascii=False)
                    if as_json
                    else value[:_LONGEST_TEXT]
                )
                tags[own.metadata["tag"]] = text
        return tags

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self:
        """The record that `to_tags` gave; it takes no notice of other tags."""
        values: dict[str, Any] = {}
        for own in fields(cls):
            if "tag" not in own.metadata:
                kind: Any = own.default_factory
                values[own.name] = kind.from_tags(tags)
            elif own.metadata["tag"] in tags:
                text = tags[own.metadata["tag"]]
                values[own.name] = _read_table(text) if "json" in own.metadata else text
        return cls(**values)


def _read_table(text: str) -> dict[str, Any]:
    """The mapping that a tag holds; empty where somebody wrote something else there."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class CodeFacts(_Tagged):
    """The code of a run.

    Args:
        commit: Of git, or a text that says why there is none; `ELSEWHERE` is one of them.
        branch: Of git.
        dirty: "true" where the code differs from the commit, "false", or "unknown".
        changed_files: The files that differ, separated by commas.
        changes_kept: How much of what differs is kept with the run, in words.
        digest: SHA-256 over the package `chromaflow` as it was imported.
    """

    commit: str = _text("git.commit")
    branch: str = _text("git.branch")
    dirty: str = _text("git.dirty")
    changed_files: str = _text("git.changed_files")
    changes_kept: str = _text("git.changes_kept")
    digest: str = _text("code.sha256")

    @property
    def elsewhere(self) -> bool:
        """Whether the code that ran was not the checkout's."""
        return self.commit == ELSEWHERE

    @property
    def known_commit(self) -> str:
        """The commit in hexadecimal digits; empty where there is none."""
        return self.commit if _COMMIT.fullmatch(self.commit) else ""


@dataclass(frozen=True)
class DataFacts(_Tagged):
    """The data of a run.

    Args:
        raw_md5: The MD5 of the raw snapshot in `data.dvc`.
        raw_manifest: SHA-256 of its manifest, which names every image.
        validated_manifest: SHA-256 of the table of the accepted images.
        lab: SHA-256 of the indices of the Lab shards, which name the SHA-256 of each, and of their
            labels and statistics.
    """

    raw_md5: str = _text("data.raw.md5")
    raw_manifest: str = _text("data.raw.manifest.sha256")
    validated_manifest: str = _text("data.validated.manifest.sha256")
    lab: str = _text("data.lab.sha256")


@dataclass(frozen=True)
class DataCounts(_Tagged):
    """How many images the data of a run hold.

    Args:
        images: `rows` that were validated, and how many of them were `accepted` and `quarantined`.
        reasons: Rule to the images that it refused; an image may have several.
        splits: Split to accepted images.
        sources: Source to accepted images.
        licenses: License to accepted images, the less common ones as "others".
        photographs: Split to how many photographs its images were cut from.
    """

    images: Mapping[str, int] = _table("data.images")
    reasons: Mapping[str, int] = _table("data.reasons")
    splits: Mapping[str, int] = _table("data.splits")
    sources: Mapping[str, int] = _table("data.sources")
    licenses: Mapping[str, int] = _table("data.licenses")
    photographs: Mapping[str, int] = _table("data.photographs")


@dataclass(frozen=True)
class LockFacts(_Tagged):
    """What DVC says of how the weights were made; known once the stage of the training has ended.

    Args:
        digest: SHA-256 of the `dvc.lock` that says it, or a text that says why there is none.
        files: Path to MD5 of the inputs and outputs of the training, and of the steps before it.
    """

    digest: str = _text("dvc.lock.sha256")
    files: Mapping[str, str] = _table("dvc.lock.files")


@dataclass(frozen=True)
class FlowFacts(_Tagged):
    """The flow run that a step belongs to; the flow tells its steps by their environment.

    Args:
        run: Its id; empty where a step was started by hand.
        page: The address of its page, or a text that says why there is none.
    """

    run: str = _text("prefect.flow_run_id")
    page: str = _text("prefect.flow_run_url")

    def to_environment(self) -> dict[str, str]:
        """The variables that inform a step; an empty one hides what this process was given."""
        return {_FLOW_RUN: self.run, _FLOW_PAGE: self.page}

    @classmethod
    def from_environment(cls) -> Self:
        """What the flow passed to this process."""
        return cls(os.environ.get(_FLOW_RUN, ""), os.environ.get(_FLOW_PAGE, ""))


@dataclass(frozen=True)
class RunFacts(_Tagged):
    """What a run was made from, as far as it is known.

    Args:
        code: The code.
        data: The data.
        counts: How many images they hold.
        seed: The setting.
        lock: What DVC says of how the weights were made; added when they are registered.
        records: Name to SHA-256 of the files that are kept with the run.
        flow: The flow run that started the step.
        moment: When all this but `lock` was recorded, as "when the training began".
    """

    code: CodeFacts = field(default_factory=CodeFacts)
    data: DataFacts = field(default_factory=DataFacts)
    counts: DataCounts = field(default_factory=DataCounts)
    seed: str = _text("seed")
    lock: LockFacts = field(default_factory=LockFacts)
    records: Mapping[str, str] = _table("records.sha256")
    flow: FlowFacts = field(default_factory=FlowFacts)
    moment: str = _text("recorded")


@dataclass(frozen=True)
class VersionFacts(_Tagged):
    """What is recorded of a version of the model.

    Args:
        digest: SHA-256 of the model folder; empty on a version that was registered by other means.
        run_id: Of the run that trained it.
        metrics: Of the held-out images, measured before it was registered.
        decision: SHA-256 of the line of the ledger that made it champion; empty before that.
        run: What its run was made from.
    """

    digest: str = _text("digest")
    run_id: str = _text("run_id")
    metrics: Mapping[str, float] = _table("metrics")
    decision: str = _text("ledger")
    run: RunFacts = field(default_factory=RunFacts)
