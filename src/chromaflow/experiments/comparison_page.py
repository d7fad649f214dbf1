"""What a comparison found: a table as Markdown and CSV, and a page with pictures."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup
from torch import Tensor

from chromaflow.evaluation.baselines import SYSTEMS
from chromaflow.experiments.comparison import Row
from chromaflow.experiments.strips import Strips, write_strips
from chromaflow.metrics.catalog import METRICS
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.reporting.svg import TITLES, draw, read_curves

_STRIPS = "strips"
_RANKED_BY = "auc_rebalanced"
_COSTS = ("Steps", "M parameters", "GFLOPs", "ms", "MB")


def table(rows: Sequence[Row]) -> list[list[str]]:
    """The comparison as text: a heading, a row a recipe, the best first, and the baselines."""
    heading = ["System", *(metric.label for metric in METRICS.values()), *_COSTS]

    def numbers(found: Mapping[str, float]) -> list[str]:
        return [
            f"{found[name]:.{metric.decimals}f}" if name in found else ""
            for name, metric in METRICS.items()
        ]

    def costs(row: Row) -> list[str]:
        cost = row.costs
        return [
            str(row.steps),
            f"{cost.parameters / 1e6:.2f}",
            f"{cost.gigaflops:.1f}",
            f"{cost.milliseconds:.0f}",
            f"{cost.megabytes:.0f}",
        ]

    ranked = sorted(rows, key=lambda row: -row.measured["model"][_RANKED_BY])
    body = [[row.recipe, *numbers(row.measured["model"]), *costs(row)] for row in ranked]
    others = {name: label for name, label in SYSTEMS.items() if name != "model"}
    measured = rows[0].measured
    body += [
        [label, *numbers(measured[name]), *[""] * len(_COSTS)] for name, label in others.items()
    ]
    return [heading, *body]


def as_markdown(cells: Sequence[Sequence[str]]) -> str:
    """A table as Markdown."""
    heading, *body = cells
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _as_csv(cells: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()


_STYLE = Markup("""body{font:15px/1.5 sans-serif;max-width:1120px;
margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px}td,th{padding:3px 8px;text-align:right}
th{border-bottom:1px solid #999}td:first-child,th:first-child{text-align:left}
img{display:block;max-width:100%;margin-bottom:4px}svg{width:260px}.axis{fill:none;stroke:#999}.line{fill:none;stroke:#246;stroke-width:2}
.dot{fill:#246}svg text{font-size:10px;fill:#555}""")


def _page(cells: Sequence[Sequence[str]], strips: Sequence[Strips], rows: Sequence[Row]) -> str:
    heading, *body = cells
    head = Markup("").join(Markup("<th>{}</th>").format(cell) for cell in heading)
    lines = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(cell) for cell in line)
        )
        for line in body
    )
    curves = {row.recipe: _curves(Path(row.folder)) for row in rows}
    pictures = Markup("").join(
        Markup("<h2>{}</h2>{}{}").format(shown.system, _images(shown), curves.get(shown.system, ""))
        for shown in strips
    )
    return Markup(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Systems compared</title>'
        "<style>{}</style><h1>Systems compared</h1><table><tr>{}</tr>{}</table>{}</html>\n"
    ).format(_STYLE, head, lines, pictures)


def _images(strips: Strips) -> Markup:
    shown = [(strips.held_out, "held-out photographs"), (strips.own, "your photographs")]
    return Markup("").join(
        Markup('<img src="{}/{}" alt="{} colors {}">').format(_STRIPS, file, strips.system, what)
        for file, what in shown
        if file
    )


def _curves(folder: Path) -> Markup:
    curves = read_curves(folder / "training" / "curves.csv")
    return Markup("").join(draw(TITLES[name], points) for name, points in curves.items())


def write_comparison(project: Project, rows: Sequence[Row], own: Sequence[Tensor] = ()) -> Path:
    """Write `reports/compare`: `table.md`, `table.csv`, `strips/` and `index.html`.

    Args:
        project: The checkout; `data/lab` is read.
        rows: Of the comparison.
        own: Lightness of photographs of the user's, which each system colors too.

    Returns:
        The page.
    """
    cells = table(rows)
    target = project.comparison
    with files.atomic_folder(target) as folder:
        strips = write_strips(project, rows, folder / _STRIPS, own)
        files.write_text(folder / "table.md", as_markdown(cells))
        files.write_text(folder / "table.csv", _as_csv(cells))
        files.write_text(folder / "index.html", _page(cells, strips, rows))
    return target / "index.html"
