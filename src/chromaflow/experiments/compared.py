"""What a comparison found: a table as Markdown and CSV, strips of pictures, and a page."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chromaflow import files
from chromaflow.color.lab import join, lab_to_rgb
from chromaflow.evaluation.evaluate import Predictor, squeeze
from chromaflow.evaluation.pictures import choose
from chromaflow.evaluation.step import constant, mean_color
from chromaflow.experiments.compare import Row
from chromaflow.models.folder import load_model
from chromaflow.project import Project
from chromaflow.store.read import read_split
from chromaflow.tracking.curves import TITLES, draw, read_curves

PICTURES = 8
_SIDE, _GAP = 128, 4
# Column, where its number comes from, and its digits.
_METRICS = (
    ("AuC, rebalanced", "auc_rebalanced", 1),
    ("AuC", "auc", 1),
    ("ΔE 2000", "delta_e_2000", 1),
    ("PSNR", "psnr", 2),
    ("SSIM", "ssim", 3),
    ("Colorfulness", "colorfulness", 1),
    ("ΔCF", "colorfulness_difference", 1),
    ("Saturation difference", "saturation_difference", 2),
)
_COSTS = ("Steps", "M parameters", "GFLOPs", "ms", "MB")
_BASELINES = (("grey", "grey"), ("mean color", "mean_color"), ("truth", "truth"))


def table(rows: Sequence[Row]) -> list[list[str]]:
    """The comparison as text: a heading, a row a recipe, the best first, and the baselines."""
    heading = ["System", *(title for title, *_ in _METRICS), *_COSTS]

    def numbers(metrics: dict[str, float]) -> list[str]:
        return [f"{metrics[k]:.{d}f}" if k in metrics else "" for _, k, d in _METRICS]

    def costs(row: Row) -> list[str]:
        cost = row.costs
        return [
            str(row.steps),
            f"{cost.parameters / 1e6:.2f}",
            f"{cost.gigaflops:.1f}",
            f"{cost.milliseconds:.0f}",
            f"{cost.megabytes:.0f}",
        ]

    ranked = sorted(rows, key=lambda row: -row.measured["model"]["auc_rebalanced"])
    body = [[row.recipe, *numbers(row.measured["model"]), *costs(row)] for row in ranked]
    measured = rows[0].measured
    body += [[name, *numbers(measured[key]), *[""] * len(_COSTS)] for name, key in _BASELINES]
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


def _photographs(project: Project) -> Iterator[tuple[Tensor, Tensor]]:
    """Lightness and ab of a few held-out photographs, always the same."""
    test = project.lab / "test"
    shown = set(choose([name for name, _ in read_split(test)], PICTURES))
    for name, pixels in read_split(test):
        if name in shown:
            yield squeeze(pixels, 256)


@torch.inference_mode()
def strip(predictor: Predictor, photographs: Sequence[tuple[Tensor, Tensor]]) -> Image.Image:
    """Photographs in a row as a system colors them.

    Args:
        predictor: Lightness (1, 1, H, W) to ab.
        photographs: Lightness and ab of each.
    """
    columns = []
    for lightness, _ in photographs:
        rgb = lab_to_rgb(join(lightness, predictor(lightness).float()))[0].permute(1, 2, 0)
        pixels: NDArray[np.uint8] = (255 * rgb).round().byte().numpy()
        columns.append(Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
    whole = Image.new("RGB", (len(columns) * (_SIDE + _GAP) - _GAP, _SIDE), "white")
    for number, column in enumerate(columns):
        whole.paste(column, (number * (_SIDE + _GAP), 0))
    return whole


def _write_strips(project: Project, rows: Sequence[Row], folder: Path) -> dict[str, str]:
    """A strip a system; name to file name."""
    photographs = list(_photographs(project))
    folder.mkdir()
    truths = iter([ab for _, ab in photographs])
    systems: dict[str, Predictor] = {
        "grey": constant(0, 0),
        "mean color": constant(*mean_color(project.lab)),
        "truth": lambda _: next(truths),
    }
    names = {}
    for name, predictor in systems.items():
        strip(predictor, photographs).save(folder / f"{name.replace(' ', '-')}.jpg", quality=88)
        names[name] = f"{folder.name}/{name.replace(' ', '-')}.jpg"
    for row in rows:
        model = load_model(Path(row.folder) / "model")
        strip(model.predict_ab, photographs).save(folder / f"{row.recipe}.jpg", quality=88)
        names[row.recipe] = f"{folder.name}/{row.recipe}.jpg"
    return names


_STYLE = Markup("""body{font:15px/1.5 sans-serif;max-width:1120px;
margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px}td,th{padding:3px 8px;text-align:right}
th{border-bottom:1px solid #999}td:first-child,th:first-child{text-align:left}
img{width:100%}svg{width:260px}.axis{fill:none;stroke:#999}.line{fill:none;stroke:#246;stroke-width:2}
.dot{fill:#246}svg text{font-size:10px;fill:#555}""")


def _page(cells: Sequence[Sequence[str]], strips: dict[str, str], rows: Sequence[Row]) -> str:
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
        Markup('<h2>{}</h2><img src="{}" alt="{} colors eight photographs">{}').format(
            name, file, name, curves.get(name, "")
        )
        for name, file in strips.items()
    )
    return Markup(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Systems compared</title>'
        "<style>{}</style><h1>Systems compared</h1><table><tr>{}</tr>{}</table>{}</html>\n"
    ).format(_STYLE, head, lines, pictures)


def _curves(folder: Path) -> Markup:
    curves = read_curves(folder / "training" / "curves.csv")
    return Markup("").join(draw(TITLES[name], points) for name, points in curves.items())


def write_comparison(project: Project, rows: Sequence[Row]) -> Path:
    """Write `reports/compare`: `table.md`, `table.csv`, `strips/` and `index.html`.

    Returns:
        The page.
    """
    cells = table(rows)
    target = project.root / "reports" / "compare"
    with files.atomic_folder(target) as folder:
        strips = _write_strips(project, rows, folder / "strips")
        files.write_text(folder / "table.md", as_markdown(cells))
        files.write_text(folder / "table.csv", _as_csv(cells))
        files.write_text(folder / "index.html", _page(cells, strips, rows))
    return target / "index.html"
