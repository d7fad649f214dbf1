"""What stands in quarantine, for people: lists, pictures, and decisions to let an image pass."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chromaflow import console, files
from chromaflow.errors import DataError
from chromaflow.project import Project
from chromaflow.quality import releases
from chromaflow.quality.sheets import Sheets, entries, page, rows_of_rule
from chromaflow.settings import Settings

Progress = Callable[[str, int | None], AbstractContextManager[console.Advance]]

PAGE = 60


def _read(project: Project) -> pa.Table:
    path = project.validated / "quarantine.parquet"
    try:
        columns = ["id", "sha256", "label", "shard", "key", "reasons", "rules"]
        return pq.read_table(path, columns=columns).combine_chunks()
    except FileNotFoundError:
        raise DataError(f"there is no {path}.", "chromaflow validate") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is no quarantine of this chromaflow: {error}", "chromaflow validate"
        ) from None


def _counts(refused: pa.Table) -> dict[str, int]:
    counts = pc.value_counts(pc.list_flatten(refused["rules"])).to_pylist()
    found = {str(entry["values"]): int(entry["counts"]) for entry in counts}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _of_rule(refused: pa.Table, rule: str) -> pa.Table:
    if rule and rule not in (counts := _counts(refused)):
        raise DataError(
            f"no image is in quarantine by {rule}; there are: {', '.join(counts) or 'none'}.",
            "chromaflow quarantine list",
        )
    return refused.take(pa.array(rows_of_rule(refused, rule))) if rule else refused


def list_refused(project: Project, rule: str = "") -> dict[str, Any]:
    """What is in quarantine, and what people released.

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
        "releases": [release.model_dump() for release in releases.read(project)],
    }
    if rule:
        result["images"] = _of_rule(refused, rule).select(["id", "reasons"]).to_pylist()
    return result


def write_sheets(
    project: Project,
    settings: Settings,
    folder: Path,
    rule: str = "",
    progress: Progress = console.progress,
) -> dict[str, Any]:
    """Write contact sheets of what is in quarantine, with ids and reasons.

    The photographs come from the raw shards, one in memory at a time.

    Args:
        project: The checkout.
        settings: `source.max_pixels` is used.
        folder: Of the pages; replaced whole. Its `index.html` is the start.
        rule: Only what this rule refused.
        progress: Shows how far the writing is.

    Returns:
        `images`, `pages` and `index`, the first page to open.

    Raises:
        DataError: Nothing was validated yet, the rule refused no image, or the folder holds
            something else.
    """
    refused = _of_rule(_read(project), rule)
    if folder.exists() and not (folder / "pictures").is_dir():
        raise DataError(f"{folder} holds something else.", "--output ANOTHER_FOLDER")
    order = pc.sort_indices(refused, [("shard", "ascending"), ("id", "ascending")]).to_numpy()
    starts = range(0, max(len(order), 1), PAGE)
    names = ["index.html", *(f"page-{number:06d}.html" for number in range(2, len(starts) + 1))]
    title = f"In quarantine: {rule or 'all'}, {len(order)} images"
    with files.atomic_folder(folder) as temporary, progress("Pictures", len(order)) as advance:
        sheets = Sheets(project, temporary, settings.source.max_pixels)
        for number, start in enumerate(starts):
            rows = np.asarray(order[start : start + PAGE], np.int64)
            links = [
                f'<a href="{names[other]}">{text}</a>'
                for other, text in ((number - 1, "previous"), (number + 1, "next"))
                if 0 <= other < len(names)
            ]
            body = f"<p>Page {number + 1} of {len(names)} {' '.join(links)}</p>\n"
            text = page(title, body + sheets.figures(entries(refused, rows)))
            files.write_text(temporary / names[number], text)
            advance(len(rows))
    return {"images": len(order), "pages": len(names), "index": str(folder / names[0])}


def release(
    project: Project, images: Sequence[str], why: str, rules: Sequence[str] = ()
) -> list[releases.Release]:
    """Decide that images may train although rules refused them; the next validation heeds it.

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
        if final := releases.FINAL.intersection(refusing):
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
    return releases.add(project, decided, why)
