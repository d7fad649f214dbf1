"""Describe the accepted snapshot: Croissant, a data card, lineage events."""

import os
from dataclasses import dataclass
from typing import Any

from chromaflow.data.snapshot.read import read_snapshot
from chromaflow.data.snapshot.samples import samples
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.reporting.data_card import write_card
from chromaflow.reporting.metadata import croissant, openlineage
from chromaflow.settings import Settings

_SAMPLES = 6


@dataclass(frozen=True)
class DescribeResult:
    """What a description came to.

    Args:
        digest: SHA-256 of the table of accepted images.
        folder: Of the description, relative to the checkout.
        checked: Whether mlcroissant is installed and found the metadata valid.
        events: The file of lineage events, relative to the checkout.
        server: The lineage server that took the events; empty where none did.
    """

    digest: str
    folder: str
    checked: bool
    events: str
    server: str

    def to_json(self) -> dict[str, Any]:
        """The result as one object; `sent` says whether a server took the events."""
        return {
            "digest": self.digest,
            "folder": self.folder,
            "checked": self.checked,
            "events": self.events,
            "sent": bool(self.server),
        }

    def summary(self) -> str:
        """The result in one line for the terminal."""
        sent = f", reported to {self.server}" if self.server else ""
        return f"{self.folder}: snapshot {self.digest[:12]}{sent}"


def describe(project: Project, settings: Settings) -> DescribeResult:
    """Write `reports/data`: `croissant.json`, `card.html`, `card.md`.

    Equal snapshots give equal bytes there. What holds a time, the lineage events, goes to
    `.chromaflow/lineage`, and to `lineage.url` where that names a server.

    Args:
        project: The checkout; `data/raw` and `data/validated` are read.
        settings: `lineage` is used.

    Raises:
        DataError: The snapshot is missing or not what its manifest says.
        SettingsError: The server's key would cross a network in the clear.
    """
    snapshot = read_snapshot(project)
    folder = project.data_description
    pages = {"how it was validated": project.data_docs, "contact sheets": project.contact_sheets}
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
    events = openlineage.events(snapshot, settings.lineage.namespace)
    path = openlineage.write_events(project, events, snapshot.digest)
    url = settings.lineage.url
    return DescribeResult(
        digest=snapshot.digest,
        folder=folder.relative_to(project.root).as_posix(),
        checked=checked,
        events=path.relative_to(project.root).as_posix(),
        server=url if url and openlineage.send(url, events) else "",
    )
