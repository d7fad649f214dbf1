"""Many files from a server on loopback: `chromaflow.data.download.fetch` against the usual loops.

    python benchmarks/downloading.py
    python benchmarks/downloading.py --kill
    python benchmarks/downloading.py --rows 2000000

The server is a process of its own. Every way writes each file to disk; ours hashes it, notes it in
the journal and renames it, too. With --kill a downloading process is killed ten times at random
moments; what was complete then must never be asked for again, and every file must end right. With
--rows so many downloads, each of them twice, are planned for a host that does not answer: what is
left is what planning itself costs.
"""

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar
from urllib.request import urlopen

import requests

from chromaflow.data.download.fetch import Download, Report, download, show
from chromaflow.settings import DownloadSettings as Policy
from common.machine import machine

GOAL = 500


def body(number: int, size: int) -> bytes:
    """Bytes that begin like a JPEG file and differ from file to file."""
    return b"\xff\xd8\xff" + number.to_bytes(8) + bytes(size - 11)


class Serving(asyncio.Protocol):
    """Answers GET /<number>.jpg; /counts tells how often each was asked for."""

    size = 0
    latency = 0.0
    counts: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        *heads, self.waiting = (self.waiting + data).split(b"\r\n\r\n")
        for head in heads:
            name = head.split(b" ", 2)[1].decode()[1:]
            number = re.fullmatch(r"(\d+)\.jpg", name)
            if number:
                self.counts[name] += 1
                content = body(int(number[1]), self.size)
            else:
                content = json.dumps(self.counts).encode()
            status = f'HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nETag: "1"\r\n\r\n'
            answer = [status.encode(), content]
            loop = asyncio.get_running_loop()
            loop.call_later(self.latency, self.transport.writelines, answer)  # type: ignore[attr-defined]


def serve(size: int, latency: float, told: Connection) -> None:
    async def run() -> None:
        Serving.size, Serving.latency = size, latency
        server = await asyncio.get_running_loop().create_server(Serving, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def with_urllib(base: str, count: int, folder: Path) -> None:
    for number in range(count):
        with urlopen(f"{base}/{number}.jpg") as answer:  # noqa: S310
            (folder / f"{number}.jpg").write_bytes(answer.read())


def with_requests(base: str, count: int, folder: Path) -> None:
    with requests.Session() as session:
        for number in range(count):
            answer = session.get(f"{base}/{number}.jpg", timeout=60)
            (folder / f"{number}.jpg").write_bytes(answer.content)


def with_curl(base: str, count: int, folder: Path) -> None:
    command = [
        "curl",
        "--silent",
        "--no-progress-meter",
        "--parallel",
        "--parallel-max",
        "8",
        "--remote-name-all",
    ]
    subprocess.run([*command, f"{base}/[0-{count - 1}].jpg"], cwd=folder, check=True)


def with_chromaflow(base: str, count: int, folder: Path) -> Report:
    items = [Download(f"{base}/{n}.jpg", folder / f"{n}.jpg") for n in range(count)]
    return download(items, Policy.model_validate({"reserve": "1B"}), cache=folder)


def processor_time() -> float:
    """Seconds of this process and of those that it has waited for; the server is none of them."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def measure(
    way: Callable[[str, int, Path], object], base: str, count: int, room: Path
) -> tuple[float, float]:
    """Files a second, and milliseconds of processor time for one."""
    folder = Path(tempfile.mkdtemp(dir=room))
    start, busy = time.perf_counter(), processor_time()
    way(base, count, folder)
    seconds, busy = time.perf_counter() - start, processor_time() - busy
    if len(list(folder.glob("*.jpg"))) != count:
        raise SystemExit(f"{way.__name__} left files out")
    shutil.rmtree(folder)
    return count / seconds, 1000 * busy / count


def compare(base: str, given: argparse.Namespace, room: Path) -> None:
    ways = {
        "urllib, one after the other": with_urllib,
        "requests, one after the other": with_requests,
        "curl, eight at once": with_curl,
        "chromaflow": with_chromaflow,
    }
    if shutil.which("curl") is None:
        del ways["curl, eight at once"]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(given.repeats):
        for name, way in ways.items():
            found[name].append(measure(way, base, given.count, room))
    medians = {
        name: [statistics.median(column) for column in zip(*values, strict=True)]
        for name, values in found.items()
    }
    slowest = min(rate for rate, _ in medians.values())
    print(f"{machine()}\n")
    print(
        f"{given.count} files of {given.size:,} bytes over loopback, answered after "
        f"{given.latency:g} ms, median of {given.repeats}\n"
    )
    print("| way | files/s | MB/s | processor, ms a file | ratio |\n|---|---:|---:|---:|---:|")
    for name, (rate, busy) in medians.items():
        print(
            f"| {name} | {rate:,.0f} | {rate * given.size / 1e6:.0f} | {busy:.2f} "
            f"| {rate / slowest:.1f}× |"
        )
    if given.latency:
        return
    state = "reached" if medians["chromaflow"][0] >= GOAL else "missed"
    print(f"\nThe goal of {GOAL} files a second is {state}.")


def asked(base: str) -> Counter[str]:
    with urlopen(f"{base}/counts") as answer:  # noqa: S310
        return Counter(json.load(answer))


def kill(base: str, given: argparse.Namespace, folder: Path) -> None:
    """Kill a downloading process ten times, then let it end, and look at everything."""
    chance = random.Random(given.seed)  # noqa: S311
    command = [sys.executable, __file__, "--fetch-from", base, "--into", str(folder)]
    command += ["--count", str(given.count)]
    complete: set[str] = set()
    counts: Counter[str] = Counter()
    twice = 0
    for _ in range(10):
        before = asked(base).total()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        goal = before + chance.randrange(1, max(2, given.count // 12))
        while asked(base).total() < goal and process.poll() is None:
            time.sleep(chance.uniform(0, 0.01))
        process.kill()
        process.wait()
        time.sleep(0.2)  # what it had asked for is still being answered
        now = asked(base)
        twice += sum(now[name] > counts[name] for name in complete)
        complete, counts = {path.name for path in folder.glob("*.jpg")}, now
        print(f"killed with {len(complete)} of {given.count} files complete")
    report = with_chromaflow(base, given.count, folder)
    now = asked(base)
    twice += sum(now[name] > counts[name] for name in complete)
    wrong = sum(
        hashlib.sha256((folder / f"{n}.jpg").read_bytes()).digest()
        != hashlib.sha256(body(n, given.size)).digest()
        for n in range(given.count)
    )
    show(report.summary)
    again = now.total() - given.count
    print(f"\n{again} requests were made again for files in flight at a kill, {twice} for complete")
    print(f"ones; {wrong} files are wrong, {len(list(folder.glob('.*.partial')))} parts are left.")
    if twice or wrong or report.failed:
        raise SystemExit(1)


def plan(rows: int, folder: Path) -> None:
    """Give a long list with duplicates to the downloader, without a server."""
    policy = Policy.model_validate({"reserve": "1B", "typical_file": "1B", "retries": 0})
    numbers = (row % (rows // 2) for row in range(rows))
    items = [Download(f"http://127.0.0.1:9/{n}.jpg", folder / f"{n}.jpg") for n in numbers]
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, processor_time()
    summary = download(items, policy, cache=folder).summary
    seconds, after = processor_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{machine()}\n")
    print(f"{rows:,} downloads of {summary.states.total():,} files: {seconds:.0f} s of processor")
    print(f"time, {after / 1024:,.0f} MiB at most, of which the list itself {before / 1024:,.0f}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="files")
    parser.add_argument("--size", type=int, default=100_000, help="bytes of a file")
    parser.add_argument("--latency", type=float, default=0, help="of the server, milliseconds")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kill", action="store_true", help="kill it ten times, and verify")
    parser.add_argument("--rows", type=int, help="plan so many downloads, and fetch none")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--fetch-from", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fetch_from:
        with_chromaflow(given.fetch_from, given.count, given.into)
        return
    if given.rows:
        with tempfile.TemporaryDirectory() as room:
            plan(given.rows, Path(room))
        return
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(
        target=serve, args=(given.size, given.latency / 1000, there), daemon=True
    )
    server.start()
    with tempfile.TemporaryDirectory() as room:
        (kill if given.kill else compare)(f"http://127.0.0.1:{here.recv()}", given, Path(room))
    server.terminate()


if __name__ == "__main__":
    main()
