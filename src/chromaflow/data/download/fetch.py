"""Download many files into a cache, rate-limited, and resume after any interruption.

A file takes its name in the cache only when it is complete and is what it should be. What one
server or one file does wrong stops that file, with a reason; only a full disk stops all.
"""

import asyncio
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chromaflow import console, settings
from chromaflow.data.download import addresses, object_store
from chromaflow.data.download.cache import (
    BAD_PATHS,
    GO_ON,
    NO_PATH,
    Download,
    cached_outcome,
    check_budget,
    explain_disk_errors,
    name_in,
)
from chromaflow.data.download.journal import Journal, open_journal
from chromaflow.data.download.partial_file import Limit
from chromaflow.data.download.report import (
    FileBar,
    OnBytes,
    Outcome,
    PassingError,
    RefusedError,
    Report,
    Summary,
    show,
    size_text,
)
from chromaflow.data.download.scheduler import Job, Schedule
from chromaflow.errors import DataError, ServerError

if TYPE_CHECKING:
    from chromaflow.data.download.http import Transfer

__all__ = ["Download", "Outcome", "Report", "Summary", "download", "fetch_one", "show"]

_LONGEST_DELAY = 60.0  # seconds


class _Fetching:
    """The work of one call.

    Args:
        policy: The group `download` of the settings.
        journal: Of the cache.
        limit: How large a file may be.
        advance: Told of every file that has ended.
        on_bytes: Told how many bytes of a file are there, and how many it has, if known.
    """

    def __init__(
        self,
        policy: settings.DownloadSettings,
        journal: Journal,
        limit: Limit,
        advance: Callable[[int], object],
        on_bytes: OnBytes,
    ) -> None:
        self._policy = policy
        self._journal = journal
        self._limit = limit
        self._advance = advance
        self._on_bytes = on_bytes
        self._random = random.Random()  # noqa: S311  (spreads retries; no secret)
        self._rows: list[Outcome] = []

    async def run(self, downloads: Iterable[Download]) -> list[Outcome]:
        """Fetch files; give what came of each, in the order in which they ended.

        Raises:
            UserError: The disk is full, or a setting cannot be used.
            OSError: The disk does not take files for another reason.
        """
        # Its library loads slowly, and sources that are on disk shall not wait for it.
        from chromaflow.data.download.http import Transfer  # noqa: PLC0415

        # Stores are read in threads, which by themselves are fewer than the connections.
        threads = ThreadPoolExecutor(self._policy.connections)
        asyncio.get_running_loop().set_default_executor(threads)
        self._schedule = Schedule(self._policy)
        for item in downloads:
            self._plan(item)
        async with Transfer(self._policy, self._journal, self._limit, self._on_bytes) as transfer:
            width = range(self._schedule.width)
            workers = [asyncio.ensure_future(self._work(transfer)) for _ in width]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return self._rows

    def _plan(self, item: Download) -> None:
        address = addresses.mirrored(item.address, self._policy.mirrors)
        try:
            addresses.check_address(address)
        except RefusedError as reason:
            self._end(Outcome(item.path, "failed", str(reason)))
            return
        name = name_in(self._journal.cache, item.path)
        host = self._schedule.host(addresses.host_of(address))
        self._schedule.add(Job(address, item.path, name, item.checksum.lower(), item.size, host))

    def _end(self, outcome: Outcome) -> None:
        self._rows.append(outcome)
        self._advance(1)

    async def _work(self, transfer: "Transfer") -> None:
        while (job := await self._schedule.take()) is not None:
            if outcome := await self._try(job, transfer):
                self._end(outcome)
                self._schedule.done(job)

    async def _try(self, job: Job, transfer: "Transfer") -> Outcome | None:
        """Try one file once; None where it will be tried again."""
        if job.host.verdict:
            await asyncio.sleep(0)  # a host may have a million files, and others are running
            return Outcome(job.path, "failed", job.host.verdict, passing=True)
        self._check_space()
        failure = ""
        try:
            if urlsplit(job.address).scheme in addresses.STORES:
                state, received = await object_store.fetch(
                    job, self._journal, self._limit, self._on_bytes
                )
            else:
                state, received = await transfer.fetch(job)
        except RefusedError as reason:
            failure = str(reason)
        except PassingError as problem:
            return self._retry(job, problem)
        except OSError as error:
            if error.errno not in BAD_PATHS:
                raise
            failure = NO_PATH.format(error.strerror)
        self._schedule.record_answer(job.host, "")
        if failure:
            return Outcome(job.path, "failed", failure)
        return Outcome(job.path, state, received=received)

    def _retry(self, job: Job, problem: PassingError) -> Outcome | None:
        """Try a file again later, if it is worth it."""
        reason = str(problem)
        if problem.wait > self._policy.longest_wait:
            reason += f" and asks to wait {problem.wait:.0f} s (download.longest_wait is less)"
            self._schedule.give_up(job.host, reason)
        elif job.tries < self._policy.retries:
            delay = min(self._policy.retry_delay * 2**job.tries, _LONGEST_DELAY)
            delay *= self._random.uniform(0.5, 1.5)
            if problem.wait:
                self._schedule.pause(job.host, problem.wait)
            self._schedule.again(job, max(delay, problem.wait))
            return None
        self._schedule.record_answer(job.host, reason)
        return Outcome(job.path, "failed", reason, passing=True)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._journal.cache).free
        if free < self._policy.reserve:
            raise DataError(
                f"{self._journal.cache}: {size_text(free)} are free, less than "
                f"download.reserve = {size_text(self._policy.reserve)}.",
                f"make room, then {GO_ON}",
            )


def download(
    downloads: Sequence[Download],
    policy: settings.DownloadSettings,
    progress: console.Progress = console.progress,
    *,
    cache: Path | None = None,
) -> Report:
    """Fetch files into a cache; what lies there complete is not fetched again.

    Hosts are asked in turn, each by at most `connections_per_host` connections. What may pass by
    itself is tried again: 429, 5xx, lost and stalled connections. A partial file is resumed if
    the server confirms that the file is still the same. Only one process can work at one cache.

    Args:
        downloads: Files; one path twice is one file.
        policy: The group `download` of the settings.
        progress: Shows how many files have ended.
        cache: The folder that keeps the journal; by default the deepest that holds every path.
            Calls that belong together give the same one.

    Returns:
        What came of each file, in the order of `downloads`. One that failed leaves no file.

    Raises:
        DataError: The files do not fit on the disk, or it became full; what is complete is kept.
        ServerError: Another process is downloading into the cache.
        SettingsError: `proxy` or `mirrors` cannot be used.
    """
    begin = time.monotonic()
    unique = {item.path: item for item in downloads}
    if not unique:
        return Report([], 0.0)
    if cache is None:
        cache = Path(os.path.commonpath([path.parent for path in unique]))
    addresses.check_mirrors(policy.mirrors)
    with (
        explain_disk_errors(cache),
        open_journal(cache) as journal,
        progress("Fetching", len(unique)) as advance,
    ):
        rows = {
            path: row for path, item in unique.items() if (row := cached_outcome(journal, item))
        }
        advance(len(rows))
        if wanted := [item for path, item in unique.items() if path not in rows]:
            check_budget(cache, wanted, policy)
            text = f"larger than download.largest_file = {policy.largest_file:,} bytes"
            limit = Limit(policy.largest_file, text)
            work = _Fetching(policy, journal, limit, advance, lambda *_: None)
            rows |= {row.path: row for row in asyncio.run(work.run(wanted))}
    return Report([rows[path] for path in unique], time.monotonic() - begin)


def fetch_one(
    item: Download,
    policy: settings.DownloadSettings,
    progress: console.Progress = console.transfer,
    *,
    remedy: str = "",
) -> Path:
    """Fetch one file that the rest depends on, such as an archive; it may be very large.

    Args:
        item: The file. Its folder keeps the journal.
        policy: The group `download` of the settings.
        progress: Shows how many bytes have arrived.
        remedy: What the user can do where the file cannot be had.

    Returns:
        Its path.

    Raises:
        DataError: The server refuses, the file is not what it should be, or the disk is full.
        ServerError: The server does not answer, or another process is downloading into the folder.
        SettingsError: `proxy` or `mirrors` cannot be used.
    """
    cache = item.path.parent
    addresses.check_mirrors(policy.mirrors)
    with explain_disk_errors(cache), open_journal(cache) as journal:
        outcome = cached_outcome(journal, item)
        if outcome is None:
            outcome = _fetch_large(journal, item, policy, progress)
    if outcome.state == "failed":
        problem = f"{addresses.shown(item.address)} cannot be fetched: {outcome.reason}."
        if outcome.passing:
            raise ServerError(problem, remedy or GO_ON)
        raise DataError(problem, remedy or "download.mirrors can name a mirror that has it")
    return item.path


def _fetch_large(
    journal: Journal, item: Download, policy: settings.DownloadSettings, progress: console.Progress
) -> Outcome:
    check_budget(journal.cache, [item], policy)
    room = shutil.disk_usage(journal.cache).free - policy.reserve
    limit = Limit(room, f"larger than the {size_text(room)} that the disk has room for")
    with FileBar(f"Fetching {item.path.name}", item.size, progress) as bar:
        work = _Fetching(policy, journal, limit, lambda _: None, bar)
        return asyncio.run(work.run([item]))[0]
