"""Charts for the data card, as inline SVG."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from chromaflow.project.splits import SPLITS

_WIDTH, _ROW, _LABEL, _NUMBER = 640, 22, 190, 56
_HEIGHT, _FOOT = 180, 24


def bars(rows: Sequence[tuple[str, Mapping[str, int]]]) -> Markup:
    """One bar a row, divided by split.

    Args:
        rows: What the row is called, and its images by split; at least one row.
    """
    most = max(*(sum(parts.values()) for _, parts in rows), 1)
    scale = (_WIDTH - _LABEL - _NUMBER) / most
    drawn = Markup()
    for index, (name, parts) in enumerate(rows):
        y, x = index * _ROW, float(_LABEL)
        drawn += Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
            _LABEL - 8, y + 15, name if len(name) <= 26 else f"{name[:25]}…"
        )
        for split in SPLITS:
            width = parts.get(split, 0) * scale
            drawn += Markup(
                '<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="15"/>'
            ).format(split, x, y + 3, width)
            x += width
        drawn += Markup('<text x="{:.1f}" y="{}">{}</text>').format(
            x + 6, y + 15, sum(parts.values())
        )
    return _frame(len(rows) * _ROW, "images of each label, by split", drawn)


def histogram(edges: Sequence[float], accepted: Sequence[int], refused: Sequence[int]) -> Markup:
    """Columns of accepted images, and of refused ones on top.

    Args:
        edges: Borders of the bins, one more than bins.
        accepted: Images in each bin.
        refused: Images in each bin.
    """
    most = max([a + r for a, r in zip(accepted, refused, strict=True)] + [1])
    width = _WIDTH / len(accepted)
    drawn = Markup()
    for index, counts in enumerate(zip(accepted, refused, strict=True)):
        y = float(_HEIGHT - _FOOT)
        for name, count in zip(("accepted", "refused"), counts, strict=True):
            height = count / most * (_HEIGHT - _FOOT - 16)
            y -= height
            drawn += Markup(
                '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
            ).format(name, index * width + 1, y, width - 2, height)
    foot = Markup(
        '<text x="0" y="{0}">{1:g}</text><text x="{2}" y="{0}" text-anchor="end">{3:g}</text>'
    )
    drawn += foot.format(_HEIGHT - 6, edges[0], _WIDTH, edges[-1])
    drawn += Markup('<text x="0" y="11">{} images at most</text>').format(most)
    title = f"images by mean chroma, from {edges[0]:g} to {edges[-1]:g} CIE Lab units"
    return _frame(_HEIGHT, title, drawn)


def _frame(height: int, title: str, drawn: Markup) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, title, drawn
    )
