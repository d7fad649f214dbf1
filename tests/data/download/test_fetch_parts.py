"""The parts of the downloader, each by itself."""

import asyncio
import contextlib
import email.utils
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from chromaflow import console
from chromaflow.data.download.addresses import check_address, host_of, mirrored, network, shown
from chromaflow.data.download.fetch import Report
from chromaflow.data.download.http import _seconds_to_wait, _validator
from chromaflow.data.download.partial_file import fault_of
from chromaflow.data.download.report import (
    FileBar,
    Outcome,
    RefusedError,
    show,
    size_text,
    time_text,
)
from chromaflow.data.download.scheduler import Host, Job, Schedule
from chromaflow.settings import DownloadSettings as Policy
from chromaflow.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=6, max_size=12)


@pytest.mark.parametrize(
    ("ip", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "private"),
        ("0.0.0.0", "loopback"),  # noqa: S104
        ("224.0.0.1", "private"),
        ("::1", "loopback"),
        ("[::1]", "loopback"),
        ("::", "loopback"),
        ("fe80::1%eth0", "link-local"),
        ("fd00::1", "private"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("8.8.8.8", "open"),
        ("2001:4860:4860::8888", "open"),
        ("64:ff9b::808:808", "open"),
    ],
)
def test_networks(ip: str, kind: str) -> None:
    assert network(ip) == kind


@given(user=WORDS, password=WORDS, token=WORDS, path=WORDS)
def test_what_is_shown_holds_no_secret(user: str, password: str, token: str, path: str) -> None:
    text = shown(f"https://{user}:{password}@photos.example/P{path}P.jpg?token=Q{token}Q")
    assert text == f"https://photos.example/P{path}P.jpg?…"


@given(st.text(max_size=60))
def test_any_address_is_judged_and_shown(address: str) -> None:
    assert shown(address).isprintable()
    try:
        check_address(address)
    except RefusedError:
        return
    assert host_of(address)


def test_the_longest_mirror_wins() -> None:
    mirrors = {"http://a/": "s3://all/", "http://a/b/": "s3://b/"}
    assert mirrored("http://a/b/c.jpg", mirrors) == "s3://b/c.jpg"
    assert mirrored("http://a/c.jpg", mirrors) == "s3://all/c.jpg"
    assert mirrored("http://c/c.jpg", mirrors) == "http://c/c.jpg"


@pytest.mark.parametrize(
    ("head", "name", "fault"),
    [
        (b"\xff\xd8\xff\xe0", "a.jpg", ""),
        (b"\x89PNG\r\n\x1a\n", "a.jpg", ""),
        (b"RIFF0000WEBP", "a.webp", ""),
        (b"RIFF0000WAVE", "a.webp", "something else came instead of an image"),
        (b"\0\0\0\x20ftypavif", "a.jpg", ""),
        (b"II*\0", "a.tif", ""),
        (b"<svg xmlns", "a.png", "SVG came instead of an image"),
        (b"<?xml version", "a.png", "XML came instead of an image"),
        (b"\n<!-- sorry -->", "a.json", "a page of HTML came instead of .json"),
        (b"<!doctype html>", "a.html", ""),
        (b"{}", "a.json", ""),
        (b"PK\x03\x04", "a.zip", ""),
    ],
)
def test_first_bytes(head: bytes, name: str, fault: str) -> None:
    assert fault_of(head, name) == fault


def test_retry_after_is_a_number_or_a_date() -> None:
    assert _seconds_to_wait({"Retry-After": "17"}) == 17
    assert _seconds_to_wait({}) == 0
    assert _seconds_to_wait({"Retry-After": "soon"}) == 0
    assert _seconds_to_wait({"Retry-After": "9" * 400}) > 10**8
    assert _seconds_to_wait({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert _seconds_to_wait({"Retry-After": email.utils.formatdate(4e9, usegmt=True)}) > 10**8


def test_only_strong_validators_join_parts() -> None:
    date = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert _validator({"ETag": '"a"'}) == '"a"'
    assert _validator({"ETag": 'W/"a"'}) == ""
    old = {"Last-Modified": "Wed, 21 Oct 2015 07:27:00 GMT"}
    assert _validator(old | date) == old["Last-Modified"]
    assert _validator({"Last-Modified": date["Date"]} | date) == ""
    assert _validator(old) == ""
    assert _validator({"Last-Modified": "never", "Date": "now"}) == ""


def job(host: Host, number: int) -> Job:
    return Job(str(number), Path(str(number)), str(number), "", None, host)


@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    per_host=st.integers(1, 4),
    connections=st.integers(1, 8),
    failing=st.integers(1, 5),
)
def test_every_job_is_handed_out_and_no_host_is_crowded(
    sizes: list[int], per_host: int, connections: int, failing: int
) -> None:
    async def work() -> None:
        policy = Policy(connections=connections, connections_per_host=per_host)
        schedule = Schedule(policy)
        hosts = [schedule.host(str(i)) for i in range(len(sizes))]
        numbers = iter(range(1000))
        for host, size in zip(hosts, sizes, strict=True):
            for _ in range(size):
                schedule.add(job(host, next(numbers)))
        assert schedule.width <= connections
        ended = []

        async def worker() -> None:
            while (taken := await schedule.take()) is not None:
                assert taken.host.active <= per_host
                await asyncio.sleep(0)
                if int(taken.address) % failing == 0 and taken.tries == 0:
                    schedule.again(taken, 0.0)
                else:
                    ended.append(taken.address)
                    schedule.done(taken)

        await asyncio.gather(*(worker() for _ in range(schedule.width)))
        assert sorted(map(int, ended)) == list(range(sum(sizes)))

    asyncio.run(work())


def test_a_pause_holds_a_host_and_not_the_others() -> None:
    async def work() -> list[str]:
        schedule = Schedule(Policy())
        slow, other = schedule.host("slow"), schedule.host("other")
        for number, host in enumerate((slow, slow, other, other)):
            schedule.add(job(host, number))
        schedule.pause(slow, 0.05)
        order = []
        while (taken := await schedule.take()) is not None:
            order.append(taken.host.name)
            schedule.done(taken)
        return order

    assert asyncio.run(work()) == ["other", "other", "slow", "slow"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (812, "812 B"), (3400, "3.4 kB"), (123_456_789, "123 MB"), (2e12, "2.0 TB")],
)
def test_sizes_are_readable(count: float, text: str) -> None:
    assert size_text(count) == text


def test_the_table_shows_ten_reasons_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Console(record=True, width=100, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    monkeypatch.setattr("chromaflow.console.console", lambda: recorder)
    rows = [Outcome(Path(f"{i}"), "failed", f"[bold]reason {i}") for i in range(14)]
    show(Report([*rows, Outcome(Path("a"), "resumed", received=3_000_000)], 2.0).summary)
    text = recorder.export_text()
    assert text.count("[bold]reason") == 10
    assert "4 other reasons" in text
    assert "1.5 MB/s" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.21, "4.2 s"), (200, "3 min 20 s"), (119.7, "2 min 0 s"), (7500, "2 h 5 min")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_a_host_that_is_given_up_keeps_nobody_waiting() -> None:
    async def work() -> int:
        schedule = Schedule(Policy.model_validate({"host_delay": "1h"}))
        host = schedule.host("slow")
        for number in range(50):
            schedule.add(job(host, number))
        schedule.done(await schedule.take() or job(host, 0))
        schedule.give_up(host, "it is down")
        schedule.pause(host, 3600)
        count = 0
        while (taken := await schedule.take()) is not None:
            schedule.done(taken)
            count += 1
        return count

    assert asyncio.run(asyncio.wait_for(work(), 10)) == 49


def test_the_bar_of_a_file_shows_where_it_stands() -> None:
    shown: list[object] = []

    @contextlib.contextmanager
    def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        shown.append((description, total))
        yield shown.append

    with FileBar("Fetching a.zip", None, progress) as bar:
        bar(400, 1000)  # resumed
        bar(600, 1000)
        bar(100, 900)  # anew
    assert shown == [("Fetching a.zip", 1000), 400, 200, -500]


def test_no_stage_depends_on_the_group_download() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    params = [name for stage in stages.values() for name in stage.get("params", [])]
    assert "download" in Settings.model_fields
    assert not [name for name in params if str(name).partition(".")[0] == "download"]


def test_bars_may_lie_in_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        isatty = staticmethod(lambda: True)
        write = flush = staticmethod(lambda *_: None)

    monkeypatch.setattr("sys.stderr", Terminal())
    with console.progress("Reading", 3) as outer, console.transfer("Fetching", None) as inner:
        outer(1)
        inner(10**6)
        (bar,) = console._shown
        assert [task.completed for task in bar.tasks] == [1, 10**6]
    assert not console._shown
