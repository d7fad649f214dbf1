"""Describe the accepted snapshot: Croissant, a data card, lineage events."""

import os
from typing import Any

from chromaflow.data.snapshot.read import read_snapshot
from chromaflow.data.snapshot.samples import samples
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.reporting.data_card import write_card
from chromaflow.reporting.metadata import croissant, openlineage
from chromaflow.settings import Settings

_SAMPLES = 6


def describe(project: Project, settings: Settings) -> dict[str, Any]:
    """Write `reports/data`: `croissant.json`, `card.html`, `card.md`.

    Equal snapshots give equal bytes there. What holds a time, the lineage events, goes to
    `.chromaflow/lineage`, and to `lineage.url` where that names a server.

    Args:
        project: The checkout; `data/raw` and `data/validated` are read.
        settings: `lineage` is used.

    Returns:
        `digest` of the snapshot, `folder`, `checked` (whether mlcroissant was there to judge the
        metadata), `events` (their file), `sent` (whether a server took them).

    Raises:
        DataError: The snapshot is missing or not what its manifest says.
        SettingsError: The server's key would cross a network in the clear.
    """
    snapshot = read_snapshot(project)
    folder = project.data_description
    pages = {"how it was judged": project.data_docs, "contact sheets": project.contact_sheets}
    links = {
        title: os.path.relpath(page / "index.html", folder)
        for title, page in pages.items()
        if (page / "index.html").is_file()
    }
    metadata = croissant.describe(snapshot, folder)
    shown = samples(snapshot, _SAMPLES)
    with files.atomic_folder(folder) as temporary:
        files.write_json(temporary / "croissant.json", metadata)
        checked = croissant.check(temporary / "croissant.json")
        write_card(snapshot, shown, temporary, links)
    told = openlineage.events(snapshot, settings.lineage.namespace)
    path = openlineage.write_events(project, told, snapshot.digest)
    url = settings.lineage.url
    return {
        "digest": snapshot.digest,
        "folder": folder.relative_to(project.root).as_posix(),
        "checked": checked,
        "events": path.relative_to(project.root).as_posix(),
        "sent": bool(url) and openlineage.send(url, told),
    }
