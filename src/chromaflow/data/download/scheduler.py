"""Which file is fetched next: hosts in turn, rate-limited, and each retry at its time."""

import asyncio
import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from chromaflow import settings

# So many files of a host in a row that failed in spite of their retries: the host is down.
HOPELESS = 20


@dataclass(slots=True, eq=False)
class Host:
    """What is known of one host.

    Args:
        name: Scheme and address, or bucket.
    """

    name: str
    jobs: deque["Job"] = field(default_factory=deque)
    active: int = 0
    not_before: float = 0.0
    queued: bool = False
    failures: int = 0
    verdict: str = ""


@dataclass(slots=True, eq=False)
class Job:
    """One file to fetch.

    Args:
        address: Behind its mirror.
        path: Where it will lie.
        name: The path below the cache.
        checksum: `sha256:<hex>`, `md5:<hex>` or empty.
        size: Bytes, or None.
        host: Whom to ask.
        tries: Attempts that failed.
    """

    address: str
    path: Path
    name: str
    checksum: str
    size: int | None
    host: Host
    tries: int = 0


class Schedule:
    """Hands out jobs: per host at most so many at once, and not faster than allowed.

    Args:
        policy: `connections`, `connections_per_host` and `host_delay` are used.
    """

    def __init__(self, policy: "settings.DownloadSettings") -> None:
        self._policy = policy
        self._hosts: dict[str, Host] = {}
        self._turns: list[tuple[float, int, Host]] = []
        self._numbers = itertools.count()
        self._left = 0
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def host(self, name: str) -> Host:
        """The host of a name, the same object for the same name."""
        if name not in self._hosts:
            self._hosts[name] = Host(name)
        return self._hosts[name]

    def add(self, job: Job) -> None:
        """Put a job at the end of its host's queue."""
        self._left += 1
        job.host.jobs.append(job)
        self._enqueue_if_free(job.host)

    @property
    def width(self) -> int:
        """How many jobs can run at the same time."""
        most = self._policy.connections_per_host
        hosts = (min(len(host.jobs), most) for host in self._hosts.values())
        return min(sum(hosts), self._policy.connections)

    def _enqueue_if_free(self, host: Host) -> None:
        """Queue a host for its next request, if it has jobs and a free connection."""
        if not host.queued and host.jobs and host.active < self._policy.connections_per_host:
            host.queued = True
            time = max(host.not_before, self._loop.time())
            heapq.heappush(self._turns, (time, next(self._numbers), host))
            self._changed.set()

    async def take(self) -> Job | None:
        """The next job, as soon as its host may be asked; None when there is nothing left."""
        while self._left:
            now = self._loop.time()
            wait = None
            if self._turns:
                time, _, host = self._turns[0]
                wait = 0.0 if host.verdict else max(time, host.not_before) - now
                if wait <= 0:
                    heapq.heappop(self._turns)
                    return self._give(host, now)
                if host.not_before > time:  # it was asked to wait after it got its turn
                    turn = (host.not_before, next(self._numbers), host)
                    heapq.heapreplace(self._turns, turn)
                    continue
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue
        self._changed.set()
        return None

    def _give(self, host: Host, now: float) -> Job:
        host.queued = False
        host.active += 1
        if not host.verdict:
            host.not_before = now + self._policy.host_delay
        job = host.jobs.popleft()
        self._enqueue_if_free(host)
        return job

    def done(self, job: Job) -> None:
        """Mark a job as ended, whether it succeeded or failed."""
        self._left -= 1
        self._release(job.host)
        if not self._left:
            self._changed.set()

    def again(self, job: Job, delay: float) -> None:
        """Give a job out once more, after some seconds, before others of its host."""
        job.tries += 1
        self._release(job.host)
        self._loop.call_later(delay, self._return, job)

    def _return(self, job: Job) -> None:
        job.host.jobs.appendleft(job)
        self._enqueue_if_free(job.host)

    def _release(self, host: Host) -> None:
        host.active -= 1
        self._enqueue_if_free(host)

    def pause(self, host: Host, seconds: float) -> None:
        """Send no request to a host for some seconds, as it asked."""
        if not host.verdict:
            host.not_before = max(host.not_before, self._loop.time() + seconds)

    def record_answer(self, host: Host, failure: str) -> None:
        """Note how a file of a host ended; an empty failure means that the host is alive."""
        host.failures = host.failures + 1 if failure else 0
        if host.failures >= HOPELESS:
            self.give_up(host, failure)

    def give_up(self, host: Host, reason: str) -> None:
        """Send no more requests to a host; its jobs are handed out at once, to fail."""
        host.verdict = f"requests to the host were stopped: {reason}"
        host.not_before = 0.0
        self._changed.set()
