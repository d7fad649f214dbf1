"""The report of the last run: one HTML file that opens from disk, and its tables on a terminal."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from chromaflow.evaluation.baselines import BASELINES, SYSTEMS
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.provenance.facts import DataCounts
from chromaflow.reporting.page_facts import RegistryStatus, gather, metric_rows, registry_status
from chromaflow.reporting.page_subject import subject
from chromaflow.reporting.svg import TITLES, draw, read_curves
from chromaflow.settings import Settings
from chromaflow.tracking.registry.candidate import candidate_digest, read_metrics

_TEMPLATE = "report.html.j2"


def verdict(found: RegistryStatus) -> tuple[str, str]:
    """A word for the page's color (good, held, open) and the headline."""
    if found.problem:
        return "open", "The registry could not be read"
    if found.version is None:
        return "open", "Not registered yet"
    name = f"Version {found.version.version}"
    if found.champion is not None and found.champion.digest == found.version.digest:
        return "good", f"{name} is the champion"
    if found.decision is None:
        return "open", f"{name} awaits the promotion decision"
    if found.decision["promoted"]:
        return "held", f"{name} is no longer the champion"
    return "held", f"{name} was not promoted"


def write_report(project: Project, settings: Settings) -> Path:
    """Write `reports/index.html`: pictures, numbers, data, decision and the chain of origin.

    Returns:
        The page; it needs no network, no script and no other file.

    Raises:
        ModelError: There is no candidate, or no evaluation of it.
    """
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["capitalize_first"] = _capitalize_first
    environment.filters["link"] = _link
    facts = gather(project, settings, candidate_digest(project))
    curves = read_curves(project.training_report / "curves.csv") if facts["training"] else {}
    status, headline = verdict(facts["registry"])
    page = environment.get_template(_TEMPLATE).render(
        **facts,
        baselines=BASELINES.values(),
        status=status,
        headline=headline,
        curves=[(TITLES[name], draw(TITLES[name], points)) for name, points in curves.items()],
    )
    files.write_text(project.page, page)
    return project.page


def summarize(project: Project, settings: Settings) -> str:
    """The metrics, the counts and the decision as text, for the terminal where there is one.

    Raises:
        ModelError: There is no candidate, or no evaluation of it.
    """
    digest = candidate_digest(project)
    metrics = read_metrics(project, digest)
    found = registry_status(project, settings, digest)
    about = subject(project, found.version)
    out = Console(highlight=False)
    table = Table(title=f"{metrics['images']} held-out images", title_justify="left")
    table.add_column("")
    for name in SYSTEMS.values():
        table.add_column(name, justify="right")
    for row in metric_rows(metrics, settings.promotion.metric):
        cells = [
            f"[bold]{row.cells.get(s, '')}[/]" if s in row.best else row.cells.get(s, "")
            for s in SYSTEMS
        ]
        table.add_row(row.metric.label, *cells)
    with out.capture() as drawn:
        out.print(table)
    lines = (
        _counts(about.facts.counts),
        *about.differences,
        _decision(found),
        f"The page: {project.page}",
    )
    return drawn.get() + "\n".join(lines)


def _link(text: str) -> Any:
    """An address as a link; any other text as it stands, for it may come from a tag."""
    from markupsafe import Markup  # noqa: PLC0415 (with jinja2)

    if urlsplit(text).scheme not in ("http", "https"):
        return text
    return Markup('<a href="{0}">{0}</a>').format(text)


def _capitalize_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _decision(found: RegistryStatus) -> str:
    status, headline = verdict(found)
    if found.decision is None or (found.decision["promoted"] and status != "good"):
        return f"{headline}. {found.problem}".strip()
    return f"{_capitalize_first(found.decision['reason'])}."


def _counts(counts: DataCounts) -> str:
    if not counts.images:
        return "how many images were accepted is not known"
    reasons = ", ".join(f"{count} {name}" for name, count in counts.reasons.items())
    splits = ", ".join(f"{count} {name}" for name, count in counts.splits.items())
    images = counts.images
    quarantine = f"{images['quarantined']} in quarantine" + (f" ({reasons})" if reasons else "")
    return f"{images['accepted']} images accepted ({splits}), {quarantine}"
