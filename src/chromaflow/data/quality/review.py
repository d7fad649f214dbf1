"""Review the quarantine: list its images, and release them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chromaflow.data.quality import waivers
from chromaflow.data.quality.facts import Rows
from chromaflow.data.snapshot.manifest import KINDS, read_validated
from chromaflow.errors import DataError
from chromaflow.project.paths import Project


def _read(project: Project) -> pa.Table:
    path = project.validated / KINDS["quarantine"].file
    columns = ["id", "sha256", "label", "shard", "key", "reasons", "rules"]
    return read_validated(path, columns).combine_chunks()


def _counts(refused: pa.Table) -> dict[str, int]:
    counts = pc.value_counts(pc.list_flatten(refused["rules"])).to_pylist()
    found = {str(entry["values"]): int(entry["counts"]) for entry in counts}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def rows_of_rule(refused: pa.Table, rule: str) -> Rows:
    """The rows of the quarantine that a rule refused."""
    lists = refused["rules"].combine_chunks()
    owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    matches = pc.equal(pc.list_flatten(lists), rule).to_numpy(zero_copy_only=False)
    rows: Rows = np.unique(owners[matches])
    return rows


def refused_images(project: Project, rule: str = "") -> pa.Table:
    """The quarantine: ids, labels, shards and reasons of the images.

    Args:
        project: The checkout.
        rule: Only what this rule refused.

    Raises:
        DataError: Nothing was validated yet, or the rule refused no image.
    """
    refused = _read(project)
    if rule and rule not in (counts := _counts(refused)):
        raise DataError(
            f"no image is in quarantine by {rule}; there are: {', '.join(counts) or 'none'}.",
            "chromaflow quarantine list",
        )
    return refused.take(pa.array(rows_of_rule(refused, rule))) if rule else refused


def list_refused(project: Project, rule: str = "") -> dict[str, Any]:
    """What is in quarantine, and what people decided.

    Args:
        project: The checkout.
        rule: Name the images that this rule refused, too.

    Returns:
        `quarantined`, `reasons` (images a rule), `releases` (the decisions), and with a rule
        `images`, each with its `id` and its `reasons`.

    Raises:
        DataError: Nothing was validated yet, or the rule refused no image.
    """
    refused = _read(project)
    result: dict[str, Any] = {
        "quarantined": len(refused),
        "reasons": _counts(refused),
        "releases": [waiver.model_dump() for waiver in waivers.read(project)],
    }
    if rule:
        result["images"] = refused_images(project, rule).select(["id", "reasons"]).to_pylist()
    return result


def release(
    project: Project, images: Sequence[str], why: str, rules: Sequence[str] = ()
) -> list[waivers.Waiver]:
    """Decide that images may train although rules refused them; the next validation applies it.

    Args:
        project: The checkout.
        images: Ids of images in quarantine.
        why: The reason, in words.
        rules: To waive; empty waives all that refused the image.

    Raises:
        DataError: An image is not in quarantine or may never be released, a rule did not refuse it,
            or there is no reason. Nothing is decided then.
    """
    refused = _read(project)
    chosen = refused.filter(pc.is_in(refused["id"], pa.array(images, pa.string())))
    found = {row["id"]: row for row in chosen.to_pylist()}
    decided = []
    for image in dict.fromkeys(images):
        if image not in found:
            raise DataError(f"{image} is not in quarantine.", "chromaflow quarantine list")
        refusing = found[image]["rules"]
        if final := waivers.FINAL.intersection(refusing):
            reason = "; ".join(found[image]["reasons"])
            raise DataError(
                f"{image} cannot be released from {', '.join(sorted(final))}: {reason}.",
                "chromaflow quarantine list --reason NAME shows others",
            )
        if others := [rule for rule in rules if rule not in refusing]:
            raise DataError(
                f"{image} was not refused by {', '.join(others)}, but by {', '.join(refusing)}.",
                f"--rule {refusing[0]}",
            )
        decided.append((image, found[image]["sha256"], list(rules) or refusing))
    return waivers.add(project, decided, why)
