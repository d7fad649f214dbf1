"""The training curves as inline SVG: no script, no network, the colors of the page."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

_WIDTH, _HEIGHT = 260.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 12.0, 26.0

TITLES = {
    "train_loss": "Training loss",
    "validation_loss": "Validation loss",
    "validation_ab_error": "Validation: mean ab error",
    "validation_colorfulness": "Validation: colorfulness",
}


def read_curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """The columns of `curves.csv` that hold something, each as (step, value) points."""
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in TITLES}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for name, points in curves.items():
                    if row.get(name):
                        points.append((float(row["step"]), float(row[name])))
    return {name: points for name, points in curves.items() if points}


def _short(value: float) -> str:
    return f"{value:.3g}"


def draw(title: str, points: Sequence[tuple[float, float]]) -> Markup:
    """A line through points, with the ends of both axes.

    Args:
        title: For those who hear the page instead of seeing it.
        points: (step, value), at least one.
    """
    steps, values = zip(*points, strict=True)
    last, low, high = max(steps), min(values), max(values)
    span = (high - low) or 1.0

    def place(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (step / last if last else 0)
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - low) / span
        return x, y

    line = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points)
    x, y = place(*points[-1])
    floor, end = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    # format() of a Markup escapes what it is given.
    return Markup(
        '<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{title}">'
        '<path class="axis" d="M{left},{top}V{floor}H{end}"/>'
        '<text x="{label}" y="{high_y}" text-anchor="end">{high}</text>'
        '<text x="{label}" y="{floor}" text-anchor="end">{low}</text>'
        '<text x="{left}" y="{foot}">0</text>'
        '<text x="{end}" y="{foot}" text-anchor="end">step {last}</text>'
        '<polyline class="line" points="{line}"/>'
        '<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/></svg>'
    ).format(
        width=_WIDTH,
        height=_HEIGHT,
        title=f"{title}: {_short(values[0])} at the start, {_short(values[-1])} at the end",
        left=_LEFT,
        top=_TOP,
        floor=floor,
        end=end,
        label=_LEFT - 6,
        high_y=_TOP + 9,
        foot=_HEIGHT - 8,
        high=_short(high),
        low=_short(low),
        last=f"{last:.0f}",
        line=line,
        x=x,
        y=y,
    )


_INK = "font-family:sans-serif;font-size:11px;fill:#444"
_LOG_WIDTH, _LOG_HEIGHT = 560.0, 300.0


def draw_log(title: str, points: Sequence[tuple[float, float]], mark: float) -> Markup:
    """A picture of its own: a line over a logarithmic axis, with one value of it marked.

    Args:
        title: Of the values.
        points: (x above 0, value), at least one.
        mark: The x to mark.
    """
    xs, values = zip(*points, strict=True)
    left, right, top, floor = 50.0, _LOG_WIDTH - 20, 30.0, _LOG_HEIGHT - 30
    low, high = float(min(values)), float(max(values))
    first, last = math.log10(min(xs)), math.log10(max(xs))

    def across(x: float) -> float:
        return left + (right - left) * (math.log10(x) - first) / (last - first or 1.0)

    def up(value: float) -> float:
        return floor - (floor - top) * (value - low) / (high - low or 1.0)

    line = " ".join(f"{across(x):.1f},{up(value):.1f}" for x, value in points)
    ticks = [10.0**power for power in range(math.ceil(first), math.floor(last) + 1)]
    marks = Markup("").join(
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            across(tick), floor + 16, f"{tick:g}"
        )
        for tick in ticks
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        'style="{ink}"><rect width="100%" height="100%" fill="#fff"/>'
        '<text x="{left}" y="18">{title}</text>{marks}'
        '<path d="M{left},{top}V{floor}H{right}" fill="none" stroke="#999"/>'
        '<text x="{label}" y="{high_y}" text-anchor="end">{high}</text>'
        '<text x="{label}" y="{floor}" text-anchor="end">{low}</text>'
        '<path d="M{mark:.1f},{top}V{floor}" stroke="#c60" stroke-dasharray="4 3"/>'
        '<text x="{mark:.1f}" y="{mark_y}" text-anchor="middle" fill="#c60">{mark_name}</text>'
        '<polyline points="{line}" fill="none" stroke="#246" stroke-width="2"/></svg>'
    ).format(
        **{"width": _LOG_WIDTH, "height": _LOG_HEIGHT, "ink": _INK, "title": title},
        **{"marks": marks, "left": left, "right": right, "top": top, "floor": floor},
        **{"label": left - 6, "high_y": top + 9, "high": _short(high), "low": _short(low)},
        **{"mark": across(mark), "mark_y": top - 4, "mark_name": _short(mark), "line": line},
    )
