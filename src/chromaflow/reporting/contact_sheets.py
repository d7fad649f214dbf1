"""Contact sheets: small pictures of photographs, on pages that open from disk."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chromaflow.data.images.thumbnail import thumbnail
from chromaflow.data.quality.duplicates import codes_of
from chromaflow.data.quality.facts import Rows, equals, texts
from chromaflow.data.quality.review import rows_of_rule
from chromaflow.data.snapshot.shards import StoredImages
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.project.splits import SPLITS
from chromaflow.settings import Settings

_SIDE = 160
# However many images, splits, labels and rules there are, so many pictures are made at most.
_OF_SPLIT = 24
_OF_RULE = 8
_STYLE = """body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222 }
.sheet { display: flex; flex-wrap: wrap; gap: .75rem }
figure { margin: 0; width: 170px } figure div { height: 160px; display: flex; align-items: center;
justify-content: center; background: #eee; color: #777; font-size: 12px; text-align: center }
img { max-width: 160px; max-height: 160px } code { font-size: 12px }
figcaption { font-size: 12px; overflow-wrap: anywhere }"""


class Entry(NamedTuple):
    """One photograph of a sheet: its id, where its bytes are, and what to write below it."""

    id: str
    shard: str
    key: str
    sha256: str
    lines: Sequence[str]


def _figure(entry: Entry, picture: str) -> str:
    shown = f'<img src="{picture}" alt="">' if picture else "no picture"
    lines = "<br>".join(html.escape(line) for line in entry.lines)
    name = html.escape(entry.id)
    text = f"<figcaption><code>{name}</code><br>{lines}</figcaption>"
    return f"<figure><div>{shown}</div>{text}</figure>"


def page(title: str, body: str) -> str:
    """A page that needs no network, no script and no other file but its pictures."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}'
        f"</title><style>{_STYLE}</style></head>\n<body>\n<h1>{html.escape(title)}</h1>\n{body}\n"
        "</body></html>\n"
    )


class Sheets:
    """Writes pictures into a folder and gives the figures that show them.

    Args:
        project: The checkout with the raw shards.
        folder: Where the pages lie.
        max_pixels: A larger picture is not opened.
    """

    def __init__(self, project: Project, folder: Path, max_pixels: int) -> None:
        self._project = project
        self._folder = folder
        self._max_pixels = max_pixels
        self._count = 0
        (folder / "pictures").mkdir(parents=True)

    def figures(self, entries: Iterable[Entry]) -> str:
        """The figures of some photographs as HTML, shard by shard; one is in memory at a time."""
        listed = list(entries)
        found: dict[str, str] = {}
        with StoredImages(self._project.raw) as stored:
            for entry in sorted(listed, key=lambda entry: entry.shard):
                found[entry.id] = _figure(entry, self._picture(stored, entry))
        return '<div class="sheet">' + "\n".join(found[e.id] for e in listed) + "</div>"

    def _picture(self, stored: StoredImages, entry: Entry) -> str:
        """Write the picture of a photograph and give its name; empty where it cannot be shown."""
        try:
            data = stored.read(entry.shard, entry.key, entry.sha256)
            small = thumbnail(data, _SIDE, self._max_pixels)
        # A machine that only validates may lack shards; and broken bytes make Pillow's decoders
        # raise almost anything, from SyntaxError to struct.error.
        except Exception:
            return ""
        name = f"pictures/{self._count:06d}.jpg"
        self._count += 1
        (self._folder / name).write_bytes(small)
        return name


def entries(table: pa.Table, rows: Rows) -> list[Entry]:
    """Rows of the manifest or the quarantine as entries of a sheet."""
    taken = table.take(pa.array(rows)).to_pylist()
    return [
        Entry(
            id=row["id"],
            shard=row["shard"],
            key=row["key"],
            sha256=row["sha256"],
            lines=row.get("reasons") or [row["label"] or ""],
        )
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

    Which ones is decided by their ids, which are hashes: the same images, the same page.

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
