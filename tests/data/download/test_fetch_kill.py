"""Kills at any moment: what was complete is never fetched twice, and everything ends right."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from chromaflow.data.download import cache, journal
from chromaflow.data.download.fetch import Download, download
from chromaflow.errors import ServerError
from tests.support.downloads import CUT, LARGE, SMALL, one, policy, run
from tests.support.http_server import Server

SCRIPT = """
import json, signal, sys
from pathlib import Path
from chromaflow.settings import DownloadSettings as Policy
from chromaflow.data.download.fetch import Download, download

# Whatever runs in the background of a shell is born deaf to it.
signal.signal(signal.SIGINT, signal.default_int_handler)
given = json.loads(sys.argv[1])
cache = Path(given["cache"])
items = [Download(address, cache / name) for address, name in given["items"]]
print("ready", flush=True)
report = download(items, Policy.model_validate(given["policy"]), cache=cache)
print(json.dumps([row.state for row in report.rows]))
"""


def begin(cache: Path, items: list[tuple[str, str]], **values: object) -> subprocess.Popen[str]:
    settings = {"reserve": "1B", "retry_delay": "0.01s"} | values
    given = json.dumps({"cache": str(cache), "items": items, "policy": settings})
    command = [sys.executable, "-c", SCRIPT, given]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str], kind: signal.Signals) -> None:
    process.send_signal(kind)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.002)


def test_killed_at_random_moments_it_ends_right(server: Server, tmp_path: Path) -> None:
    chance = random.Random(3)  # noqa: S311
    bodies = {f"{i}.png": SMALL + chance.randbytes(chance.choice([10, 90_000])) for i in range(150)}
    bodies |= {f"large{i}.png": LARGE + bytes([i]) for i in range(4)}
    items = [(server.put(f"/{name}", body), name) for name, body in bodies.items()]
    server.pause = 0.005
    for _ in range(10):
        moment = server.counts.total() + chance.randrange(2, 24)
        process = begin(tmp_path, items)
        wait_for(partial(passed, server, moment, process))
        end(process, signal.SIGKILL)
        complete = {path.name for path in tmp_path.glob("[!.]*")}
        assert all((tmp_path / name).read_bytes() == bodies[name] for name in complete)
        time.sleep(0.05)  # requests that the killed process has sent still arrive
        counts = {name: server.counts[f"/{name}"] for name in complete}
        kept = [Download(address, tmp_path / name) for address, name in items if name in complete]
        report = run(tmp_path, *kept)
        assert report.summary.states["skipped"] == len(complete)
        assert counts == {name: server.counts[f"/{name}"] for name in complete}
    process = begin(tmp_path, items)
    states = json.loads(process.communicate()[0])
    assert process.returncode == 0
    assert "failed" not in states
    assert states.count("skipped") >= len(complete)
    assert counts == {name: server.counts[f"/{name}"] for name in complete}
    assert all((tmp_path / name).read_bytes() == body for name, body in bodies.items())
    assert not list(tmp_path.glob(".*.partial"))


def passed(server: Server, moment: int, process: subprocess.Popen[str]) -> bool:
    """Whether so many requests came, or there is nothing left to ask for."""
    return server.counts.total() > moment or process.poll() is not None


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_a_part_that_goes_on(
    server: Server, tmp_path: Path, kind: signal.Signals
) -> None:
    address = server.put("/a.png", LARGE, stall=CUT, stalls=1)
    process = begin(tmp_path, [(address, "a.png")])
    part = tmp_path / ".a.png.partial"
    wait_for(lambda: part.exists() and part.stat().st_size == CUT)
    end(process, kind)
    assert part.stat().st_size == CUT
    assert one(tmp_path, address)[0] == "resumed"
    assert (tmp_path / "a.png").read_bytes() == LARGE


def test_a_second_process_is_told(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", LARGE, stall=1000, stalls=1)
    process = begin(tmp_path, [(address, "a.png")])
    part = tmp_path / ".a.png.partial"
    wait_for(lambda: part.exists() and part.stat().st_size == 1000)
    with pytest.raises(ServerError, match="another process is downloading"):
        run(tmp_path, Download(address, tmp_path / "b.png"))
    end(process, signal.SIGKILL)
    assert one(tmp_path, address)[0] == "resumed"


def test_a_kill_between_note_and_name_costs_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.put("/a.png", SMALL)

    def die(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chromaflow.data.download.partial_file.Partial.take_place", die)
    with pytest.raises(KeyboardInterrupt):
        one(tmp_path, address)
    monkeypatch.undo()
    assert not (tmp_path / "a.png").exists()
    assert run(tmp_path, Download(address, tmp_path / "a.png")).rows[0].state == "skipped"
    assert (tmp_path / "a.png").read_bytes() == SMALL
    assert server.counts["/a.png"] == 1


def test_a_torn_line_of_the_journal_is_passed_over(server: Server, tmp_path: Path) -> None:
    addresses = [server.put(f"/{i}.png", SMALL) for i in range(3)]
    items = [Download(address, tmp_path / f"{i}.png") for i, address in enumerate(addresses)]
    run(tmp_path, *items)
    path = tmp_path / journal.NAME
    path.write_bytes(path.read_bytes()[:-9])
    report = run(tmp_path, *items)
    assert (report.summary.states["skipped"], report.summary.states["fetched"]) == (2, 1)
    assert run(tmp_path, *items).summary.states["skipped"] == 3


def after_power_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "BOOT", "another start")


def test_after_a_loss_of_power_finished_files_are_read_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [Download(server.put(f"/{i}.png", SMALL), tmp_path / f"{i}.png") for i in range(4)]
    run(tmp_path, *items)
    after_power_loss(monkeypatch)
    items[0].path.write_bytes(bytes(len(SMALL)))
    items[1].path.write_bytes(SMALL[:-1])
    report = run(tmp_path, *items)
    assert [row.state for row in report.rows] == ["fetched", "fetched", "skipped", "skipped"]
    assert all(item.path.read_bytes() == SMALL for item in items)
    read = []
    monkeypatch.setattr(cache, "_has", lambda *a: read.append(a))
    assert run(tmp_path, *items).summary.states["skipped"] == 4
    assert not read


def test_after_a_loss_of_power_parts_need_a_checksum(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.put("/a.png", LARGE, cut=CUT, cuts=1)
    assert one(tmp_path, address, retries=0)[0] == "failed"
    after_power_loss(monkeypatch)
    assert one(tmp_path, address)[0] == "fetched"


def test_the_journal_forgets_what_was_taken_out(server: Server, tmp_path: Path) -> None:
    notes = "".join(
        json.dumps({"path": f"{i}.png", "size": 1, "sha256": "0", "checksum": "", "boot": ""})
        + "\n"
        for i in range(1200)
    )
    (tmp_path / journal.NAME).write_text(notes)
    assert one(tmp_path, server.put("/a.png", SMALL))[0] == "fetched"
    assert len((tmp_path / journal.NAME).read_text().splitlines()) == 1
    assert one(tmp_path, server.url("/a.png"))[0] == "skipped"


def test_a_file_without_a_note_counts_only_with_its_checksum(
    server: Server, tmp_path: Path
) -> None:
    address = server.put("/a.png", SMALL)
    (tmp_path / "a.png").write_bytes(SMALL)
    (tmp_path / "b.png").write_bytes(SMALL)
    checksum = "sha256:" + hashlib.sha256(SMALL).hexdigest()
    assert one(tmp_path, address, checksum=checksum)[0] == "skipped"
    assert one(tmp_path, address, "b.png")[0] == "fetched"


def test_the_cache_is_by_default_the_folder_of_all(server: Server, tmp_path: Path) -> None:
    items = [Download(server.put(f"/{i}.png", SMALL), tmp_path / f"{i}" / "a.png") for i in (0, 1)]
    assert download(items, policy()).summary.states["fetched"] == 2
    assert (tmp_path / journal.NAME).exists()
