"""What the report shows, gathered from the files of the steps, the registry and the ledger."""

import base64
import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from chromaflow.errors import DataError, ModelError, UserError
from chromaflow.evaluation.baselines import MEAN_COLOR, SYSTEMS
from chromaflow.metrics.base import Metric
from chromaflow.metrics.catalog import METRICS
from chromaflow.project.addresses import is_server, public_address
from chromaflow.project.paths import Project
from chromaflow.provenance import ledger
from chromaflow.reporting.page_subject import subject
from chromaflow.settings import Settings
from chromaflow.tracking.registry.candidate import read_metrics
from chromaflow.tracking.registry.lookup import Version
from chromaflow.tracking.registry.registry import Registry

FEW_PHOTOGRAPHS = 200


@dataclass(frozen=True)
class Row:
    """A metric of every system, as text; `best` names the systems that win."""

    metric: Metric
    cells: Mapping[str, str]
    best: frozenset[str]


def metric_rows(metrics: Mapping[str, Any], first: str) -> list[Row]:
    """The metrics of `metrics.json` in the order of the catalog, the one that decides first."""
    rows = []
    for name in dict.fromkeys((first, *METRICS)):
        if name not in metrics["model"]:
            continue
        metric = METRICS[name]
        values = {s: metrics[s][name] for s in SYSTEMS if name in metrics.get(s, {})}
        cells = {s: f"{value:.{metric.decimals}f}" for s, value in values.items()}
        rivals = [value for system, value in values.items() if system != "truth"]
        target = {"higher": max, "lower": min}.get(metric.direction)
        best = target(rivals) if target else None
        rows.append(Row(metric, cells, frozenset(s for s, v in values.items() if v == best)))
    return rows


@dataclass(frozen=True)
class Picture:
    """A strip of a held-out photograph: grey, predicted, true.

    Args:
        uri: The picture itself, as a data URI.
        id: Of the image.
        label: What it shows, as far as the manifest states it.
        origin: Where it comes from.
        license: Of the photograph.
        score: The metric that decides, of the model.
        rival: The same of the mean color.
    """

    uri: str
    id: str
    label: str
    origin: str
    license: str
    score: str
    rival: str


def pictures(
    project: Project, manifest: list[dict[str, Any]], metric: str, decimals: int
) -> list[Picture]:
    """The strips of the evaluation, in their order."""
    known = {re.sub(r"[^A-Za-z0-9._-]", "_", row["id"])[:100]: row for row in manifest}
    scores = _scores(project.evaluation / "per_image.csv", metric, decimals)
    found = []
    for path in sorted((project.evaluation / "pictures").glob("*.png")):
        row = known.get(path.stem.partition("-")[2], {})
        image = str(row.get("id", path.stem))
        found.append(
            Picture(
                uri=_data_uri(path),
                id=image,
                label=str(row.get("label") or ""),
                origin=str(row.get("url") or ""),
                license=str(row.get("license") or ""),
                score=scores.get((image, "model"), ""),
                rival=scores.get((image, MEAN_COLOR.name), ""),
            )
        )
    return found


def _data_uri(path: Path) -> str:
    """The picture as JPEG with whole color resolution: a third of the PNG, no visible loss."""
    buffer = io.BytesIO()
    try:
        with Image.open(path) as image:
            image.convert("RGB").save(buffer, "JPEG", quality=92, subsampling=0)
    except OSError as error:
        raise ModelError(f"{path} is not a picture: {error}", "dvc repro evaluate") from None
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _scores(path: Path, metric: str, decimals: int) -> dict[tuple[str, str], str]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["id"], row["system"]): f"{float(row[metric]):.{decimals}f}"
            for row in csv.DictReader(file)
            if row.get(metric)
        }


def read_manifest(project: Project) -> list[dict[str, Any]]:
    """What is known of every accepted image; empty where the table is missing or unreadable."""
    from chromaflow.data.snapshot.manifest import read_validated  # noqa: PLC0415 (half a second)

    try:
        table = read_validated(project.accepted_manifest, ["id", "url", "label", "license"])
    except DataError:
        return []
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class RegistryStatus:
    """What registry and ledger know: the candidate's version, the champion, what was decided.

    Args:
        version: Of the candidate; None where it is not registered or nobody answers.
        champion: The current champion, or None.
        decision: The last entry of the ledger about the candidate; empty where there is none.
        problem: Why registry or ledger could not be read; empty where they could.
        link: Of the run on the pages of MLflow; empty without a server.
    """

    version: Version | None = None
    champion: Version | None = None
    decision: Mapping[str, Any] | None = None
    problem: str = ""
    link: str = ""


def registry_status(project: Project, settings: Settings, digest: str) -> RegistryStatus:
    """Ask registry and ledger; what does not respond is reported on the page, not raised."""
    registry = Registry(project, settings)
    try:
        version = registry.version_of(digest)
        entries = [e for e in ledger.read(project.ledger) if e.get("digest") == digest]
        uri = settings.tracking.uri
        link = ""
        if version is not None and is_server(uri):
            place = f"models/{version.model}/versions/{version.version}"
            link = f"{public_address(uri).rstrip('/')}/#/{place}"
        return RegistryStatus(
            version,
            registry.champion(),
            entries[-1] if entries else None,
            link=link,
        )
    except UserError as error:
        return RegistryStatus(problem=error.problem)


def links(project: Project) -> list[tuple[str, str]]:
    """Addresses from the page to the other pages that stand in this checkout, and their names."""
    pages = {
        "Data card": project.data_description / "card.html",
        "Contact sheets": project.contact_sheets / "index.html",
        "Data Docs of Great Expectations": project.data_docs / "index.html",
    }
    folder = project.page.parent
    return [
        (path.relative_to(folder).as_posix(), name)
        for name, path in pages.items()
        if path.is_file()
    ]


def _system(project: Project) -> str:
    """Network and codebook of the candidate."""
    described = read_json(project.candidate / "model.json")
    network, codebook = (
        described.get(part, {}).get("name", "?") for part in ("network", "codebook")
    )
    return f"{network} with {codebook}"


def _training(project: Project, digest: str) -> dict[str, Any]:
    """The summary of the training that made these weights; empty where another one stands there."""
    summary = read_json(project.training_report / "summary.json")
    return summary if summary.get("digest") == digest else {}


def gather(project: Project, settings: Settings, digest: str) -> dict[str, Any]:
    """Everything that the page shows of the model with this digest.

    Raises:
        ModelError: There is no evaluation, or it is of another model.
    """
    metrics, found = read_metrics(project, digest), registry_status(project, settings, digest)
    deciding = settings.promotion.metric
    decides = METRICS[deciding]
    return {
        "digest": digest,
        "metrics": metrics,
        "rows": metric_rows(metrics, deciding),
        "decides": decides,
        "systems": SYSTEMS,
        "pictures": pictures(project, read_manifest(project), deciding, decides.decimals),
        "training": _training(project, digest),
        "system": _system(project),
        "registry": found,
        "subject": subject(project, found.version),
        "few_photographs": FEW_PHOTOGRAPHS,
        "links": links(project),
    }
