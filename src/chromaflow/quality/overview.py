"""Some accepted and some refused photographs on one page, to see what the rules do.

Which ones is decided by their ids, which are hashes: the same images, the same page.
"""

import html

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chromaflow import files
from chromaflow.project import SPLITS, Project
from chromaflow.quality.duplicates import codes_of
from chromaflow.quality.sheets import Entry, Sheets, page
from chromaflow.quality.table import Rows, equals, texts
from chromaflow.settings import Settings

# However many images, splits, labels and rules there are, so many pictures are made at most.
_OF_SPLIT = 24
_OF_RULE = 8


def rows_of_rule(refused: pa.Table, rule: str) -> Rows:
    """The rows of the quarantine that a rule refused."""
    lists = refused["rules"].combine_chunks()
    owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    matches = pc.equal(pc.list_flatten(lists), rule).to_numpy(zero_copy_only=False)
    rows: Rows = np.unique(owners[matches])
    return rows


def entries(table: pa.Table, rows: Rows) -> list[Entry]:
    """Rows of the manifest or the quarantine as entries of a sheet."""
    taken = table.take(pa.array(rows)).to_pylist()
    return [
        Entry(row["id"], row["shard"], row["key"], row.get("reasons") or [row["label"] or ""])
        for row in taken
    ]


def _sample(accepted: pa.Table, split: str) -> Rows:
    """Rows of a split, one label after the other and round again, each label's by their ids."""
    rows = np.flatnonzero(equals(accepted, "split", split))
    labels = pd.Series(codes_of(texts(accepted, "label"))[rows])
    turn = labels.groupby(labels).cumcount()
    return rows[np.lexsort([labels.to_numpy(), turn.to_numpy()])[:_OF_SPLIT]]


def write_overview(
    project: Project, settings: Settings, accepted: pa.Table, refused: pa.Table
) -> None:
    """Write `reports/contact-sheets`: accepted photographs by split and label, refused by rule.

    Args:
        project: The checkout; what its raw shards do not hold is shown without a picture.
        settings: `source.max_pixels` is used.
        accepted: The validated manifest, sorted by id.
        refused: The quarantine, sorted by id.
    """
    rules = pc.unique(pc.list_flatten(refused["rules"])).to_pylist()
    with files.atomic_folder(project.contact_sheets) as folder:
        sheets = Sheets(project, folder, settings.source.max_pixels)
        parts = []
        for split in SPLITS:
            figures = sheets.figures(entries(accepted, _sample(accepted, split)))
            parts.append(f"<h2>Accepted: {split}</h2>\n{figures}")
        for rule in sorted(rules):
            rows = rows_of_rule(refused, rule)
            figures = sheets.figures(entries(refused, rows[:_OF_RULE]))
            title = f"Refused: {html.escape(rule)}, {len(rows)} images"
            parts.append(f"<h2>{title}</h2>\n{figures}")
        text = page("Accepted and refused photographs", "\n".join(parts))
        files.write_text(folder / "index.html", text)
