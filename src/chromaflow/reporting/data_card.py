"""The data card: what the snapshot holds, for people, as a page and as Markdown."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chromaflow.data.snapshot.read import Snapshot, common_address, counts, photographs, select
from chromaflow.data.snapshot.samples import Sample
from chromaflow.data.sources.origins import ORIGINS, Origin
from chromaflow.project.files import write_bytes, write_text
from chromaflow.project.splits import SPLITS
from chromaflow.reporting import charts

_MOST_LABELS = 24
_MOST_LICENSES = 40
_MOST_REFUSED = 12
_BINS = 30


class Collection(NamedTuple):
    """What came from one source."""

    name: str
    images: int
    refused: int
    photographs: int
    address: str
    origin: Origin | None


def write_card(
    snapshot: Snapshot,
    samples: Mapping[str, list[Sample]],
    folder: Path,
    links: Mapping[str, str],
) -> None:
    """Write `card.html`, `card.md` and the pictures of the latter; equal inputs, equal bytes.

    Args:
        snapshot: What is shown.
        samples: A few images of each split.
        folder: Where to write; the page needs no other file, the Markdown its `samples`.
        links: Titles and relative addresses of other pages about the same data.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"md": escape_markdown, "uri": _data_uri, "size": _size}
    facts = gather(snapshot) | {"samples": samples, "links": links}
    for split, images in samples.items():
        for number, image in enumerate(images, start=1):
            write_bytes(folder / "samples" / f"{split}-{number}.jpg", image.jpeg)
    for name in ("card.html", "card.md"):
        write_text(folder / name, environment.get_template(f"{name}.j2").render(facts))


def escape_markdown(text: object) -> str:
    """A text that Markdown and the HTML within it show as it is, on one line."""
    plain = " ".join(str(text).split())
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", plain)


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def gather(snapshot: Snapshot) -> dict[str, Any]:
    """What both forms of the card show, except for pictures."""
    accepted, refused = snapshot.accepted, snapshot.refused
    licenses = counts(accepted, "license")
    labels = _labels(accepted)
    shown, others = labels[:_MOST_LABELS], labels[_MOST_LABELS:]
    shards = snapshot.shards.values()
    return {
        "snapshot": snapshot,
        "splits": [_split(accepted, name) for name in SPLITS],
        "collections": [
            _collection(accepted, refused, name)
            for name, _ in counts(snapshot.every("source"), "source")
        ],
        "licenses": [(name or "unknown", count) for name, count in licenses[:_MOST_LICENSES]],
        "more_licenses": len(licenses[_MOST_LICENSES:]),
        "labels": shown,
        "more_labels": (len(others), sum(sum(parts.values()) for _, parts in others)),
        "label_chart": charts.bars([(name or "no label", parts) for name, parts in shown]),
        "chroma_chart": _chroma_chart(accepted, refused),
        "chroma": _quantiles(accepted["mean_chroma"]),
        "sides": _quantiles(pc.min_element_wise(accepted["width"], accepted["height"])),
        "bytes": sum(shard.size for shard in shards),
        "reasons": sorted(
            snapshot.validation.reasons.items(), key=lambda pair: (-pair[1], pair[0])
        ),
        "apart": [
            (len(part.table), part.meaning)
            for name, part in snapshot.parts.items()
            if name not in ("images", "quarantine") and len(part.table)
        ],
        "refused": refused.slice(0, _MOST_REFUSED).to_pylist(),
    }


def _split(accepted: pa.Table, name: str) -> dict[str, Any]:
    rows = select(accepted, "split", name)
    return {"name": name, "images": len(rows), "photographs": photographs(rows)}


def _collection(accepted: pa.Table, refused: pa.Table, name: str) -> Collection:
    rows = select(accepted, "source", name)
    return Collection(
        name=name,
        images=len(rows),
        refused=len(select(refused, "source", name)),
        photographs=photographs(rows),
        address=common_address(rows),
        origin=ORIGINS.get(name),
    )


def _labels(accepted: pa.Table) -> list[tuple[str, dict[str, int]]]:
    """Labels with their images by split, the most common first."""
    table = pa.table({"label": pc.fill_null(accepted["label"], ""), "split": accepted["split"]})
    found: dict[str, dict[str, int]] = {}
    grouped = table.group_by(["label", "split"]).aggregate([([], "count_all")])
    for row in grouped.to_pylist():
        found.setdefault(row["label"], {})[row["split"]] = row["count_all"]
    return sorted(found.items(), key=lambda pair: (-sum(pair[1].values()), pair[0]))


def _quantiles(values: Any) -> dict[str, float]:
    """Smallest, median and largest value; empty where there is none."""
    low, middle, high = pc.quantile(values, q=[0, 0.5, 1]).to_pylist()
    return {} if low is None else {"low": low, "median": middle, "high": high}


def _chroma_chart(accepted: pa.Table, refused: pa.Table) -> Any:
    columns = [table["mean_chroma"].drop_null().to_numpy() for table in (accepted, refused)]
    highest = max((float(column.max()) for column in columns if len(column)), default=0.0)
    edges = np.linspace(0, max(1, np.ceil(highest)), _BINS + 1)
    drawn = [np.histogram(column, edges)[0].tolist() for column in columns]
    return charts.histogram(edges.tolist(), *drawn)
