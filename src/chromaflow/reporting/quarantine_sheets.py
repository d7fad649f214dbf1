"""Contact sheets of what is in quarantine."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from chromaflow import console
from chromaflow.data.quality.review import refused_images
from chromaflow.errors import DataError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.reporting.contact_sheets import Sheets, entries, page
from chromaflow.settings import Settings

PAGE = 60


def write_sheets(
    project: Project,
    settings: Settings,
    folder: Path,
    rule: str = "",
    progress: console.Progress = console.progress,
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
    refused = refused_images(project, rule)
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
