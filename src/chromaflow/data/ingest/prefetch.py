"""Fetch what new records need, a shard's worth at a time, and forget it once it is committed."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chromaflow.data.sources.base import Record, cache
from chromaflow.project.paths import Project
from chromaflow.settings import DownloadSettings, Settings
from chromaflow.settings.sources import PublishedSource

if TYPE_CHECKING:
    from chromaflow.data.download.fetch import Summary


class Fetcher:
    """The images that are on their way from a server into a shard.

    On disk lie at most the files that two shards need, whatever the size of the source.

    Args:
        project: The checkout.
        settings: `source.shard_images` and `download` are used.
        source: Name of the source.
    """

    def __init__(self, project: Project, settings: Settings, source: str) -> None:
        self._settings = settings
        self._folder = cache(project, source) / "images"
        self._waiting: dict[str, Path] = {}
        self._done: set[Path] = set()
        self._latest: Path | None = None
        self._source = source
        self._summary: Summary | None = None

    def serve(self, records: Iterable[Record]) -> Iterator[tuple[Record, str]]:
        """The records in their order, each with the reason why its bytes could not be fetched.

        The reason is empty where `read` may be tried; records without a download pass through.
        """
        batch: list[Record] = []
        for record in records:
            if record.download is None:
                yield record, ""
                continue
            batch.append(record)
            if len(batch) == self._settings.source.shard_images:
                yield from self._fetch(batch)
                batch = []
        if batch:
            yield from self._fetch(batch)

    def _fetch(self, batch: list[Record]) -> Iterator[tuple[Record, str]]:
        from chromaflow.data.download import fetch  # noqa: PLC0415  # its libraries load slowly

        wanted = {d.path: d for record in batch if (d := record.download) and self._is_new(d.path)}
        failures: dict[Path, str] = {}
        if wanted:
            report = fetch.download(
                list(wanted.values()), self._settings.download, cache=self._folder
            )
            failures = report.failed
            self._summary = report.summary + self._summary if self._summary else report.summary
        for record in batch:
            if record.download is None:
                continue
            path = record.download.path
            if path not in failures:
                self._waiting[record.url] = self._latest = path
            yield record, failures.get(path, "")

    def _is_new(self, path: Path) -> bool:
        """Whether a file was not fetched by this ingest: one that many records share comes once."""
        return path != self._latest and path not in self._waiting.values()

    def release(self, urls: Iterable[str]) -> None:
        """Forget the files of images that now stand in a shard."""
        self._done |= {self._waiting.pop(url) for url in urls if url in self._waiting}
        # The next images may lie in the latest file, too.
        gone = self._done - set(self._waiting.values()) - {self._latest}
        for path in gone:
            path.unlink(missing_ok=True)
        self._done -= gone

    def close(self) -> None:
        """Forget all of them, as the snapshot holds what was needed; show what came of them."""
        from chromaflow.data.download import fetch  # noqa: PLC0415  (its libraries load slowly)

        shutil.rmtree(self._folder, ignore_errors=True)
        if self._summary:
            fetch.show(self._summary, f"Downloads of {self._source}")


def published(
    project: Project,
    settings: PublishedSource,
    policy: DownloadSettings,
    address: str,
    remedy: str,
    name: str = "",
) -> tuple[Path, str, str]:
    """The archive or table of a source: on disk where the settings say so, else fetched once.

    Args:
        project: The checkout.
        settings: Its `archive` and `address` are used.
        policy: How to fetch it.
        address: Where the publisher has it.
        remedy: The command that names another one.
        name: Of the file in the cache; empty takes it from the address.

    Returns:
        Its path, its name in an error, and the remedy where it is broken.

    Raises:
        DataError: The server gives something else, or nothing.
        ServerError: The server does not answer.
    """
    from chromaflow.data.download import fetch  # noqa: PLC0415  # its libraries load slowly

    if settings.archive:
        path = project.locate(settings.archive)
        return path, f"source.archive = {settings.archive}", remedy
    address = settings.address or address
    folder = cache(project, settings.name)
    path = folder / (name or address.rpartition("/")[2])
    fetch.fetch_one(fetch.Download(address, path), policy, remedy=remedy)
    return path, address, fetch_anew(path)


def fetch_anew(path: Path) -> str:
    """The remedy for a fetched file that is broken."""
    return f"rm {path}, then run the command again: it downloads the file again"
