"""Files from a server that misbehaves."""

import email.utils
import hashlib
import re
import time
from pathlib import Path
from typing import Any

import pytest

from chromaflow.data.download import fetch
from chromaflow.data.download.fetch import Download, download, fetch_one
from chromaflow.data.download.scheduler import Host, Schedule
from chromaflow.errors import DataError, ServerError, SettingsError
from tests.support.downloads import CUT, LARGE, OTHER, SMALL, one, policy, run
from tests.support.http_server import Server


def test_files_arrive_whole_and_are_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    items = [
        Download(server.put(f"/{i}.png", SMALL + bytes([i])), tmp_path / f"{i % 3}" / f"{i}.png")
        for i in range(30)
    ]
    report = run(tmp_path, *items)
    assert report.summary.states["fetched"] == 30
    assert report.summary.received == 30 * (len(SMALL) + 1)
    assert all(item.path.read_bytes() == SMALL + bytes([i]) for i, item in enumerate(items))
    assert run(tmp_path, *items).summary.states["skipped"] == 30
    assert set(server.whole.values()) == {1}
    assert not list(tmp_path.rglob("*.partial"))


def test_a_file_that_was_taken_out_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", SMALL)
    assert one(tmp_path, address)[0] == "fetched"
    (tmp_path / "a.png").unlink()
    assert one(tmp_path, address)[0] == "fetched"


def test_thousands_of_duplicates_are_few_files(tmp_path: Path) -> None:
    items = [Download("gopher://h/a", tmp_path / f"{i % 3000}") for i in range(9000)]
    assert run(tmp_path, *items).summary.states == {"failed": 3000}


def test_one_path_twice_is_one_file(server: Server, tmp_path: Path) -> None:
    item = Download(server.put("/a.png", SMALL), tmp_path / "a.png")
    assert len(run(tmp_path, item, item).rows) == 1
    assert server.counts["/a.png"] == 1
    assert download([], policy()).rows == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501])
def test_what_is_refused_is_not_asked_for_again(
    server: Server, tmp_path: Path, status: int
) -> None:
    address = server.put("/a.png", SMALL, status=status)
    state, reason = one(tmp_path, address)
    assert state == "failed"
    assert f"answered {status}" in reason
    assert server.counts["/a.png"] == 1


def test_errors_that_pass_are_tried_again(server: Server, tmp_path: Path) -> None:
    assert one(tmp_path, server.put("/a.png", SMALL, failures=3))[0] == "fetched"
    assert server.counts["/a.png"] == 4
    state, reason = one(tmp_path, server.put("/b.png", SMALL, failures=9), "b.png", retries=2)
    assert (state, reason) == ("failed", "the server answered 500 Internal Server Error")
    assert server.counts["/b.png"] == 3


def test_retry_after_is_honoured(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    original = Schedule.pause

    def pause(schedule: Schedule, host: Host, seconds: float) -> None:
        paused.append(seconds)
        original(schedule, host, seconds)

    monkeypatch.setattr(Schedule, "pause", pause)
    address = server.put("/a.png", SMALL, busy=1, retry_after="1")
    assert one(tmp_path, address)[0] == "fetched"
    assert paused == [1.0]
    address = server.put("/b.png", SMALL, busy=9, retry_after="3600")
    state, reason = one(tmp_path, address, "b.png")
    assert state == "failed"
    assert "asks to wait 3600 s (download.longest_wait" in reason
    assert server.counts["/b.png"] == 1


def test_retry_after_may_be_a_date(server: Server, tmp_path: Path) -> None:
    date = email.utils.formatdate(time.time() + 2, usegmt=True)
    address = server.put("/a.png", SMALL, busy=1, retry_after=date)
    begin = time.time()
    assert one(tmp_path, address)[0] == "fetched"
    assert time.time() >= int(begin) + 2


def test_a_host_that_asks_to_wait_for_long_is_left_alone(server: Server, tmp_path: Path) -> None:
    items = [
        Download(server.put(f"/{i}.png", SMALL, busy=99, retry_after="3600"), tmp_path / f"{i}.png")
        for i in range(50)
    ]
    server.pause = 0.01
    report = run(tmp_path, *items, connections_per_host=2, host_delay="60s")
    assert report.summary.states["failed"] == 50
    assert all("asks to wait 3600 s" in row.reason for row in report.rows)
    assert server.counts.total() <= 2


def test_a_stalled_server_is_left_and_asked_again(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", LARGE, stall=CUT, stalls=1)
    # Longer than a busy machine keeps a server that does not stall from answering.
    assert one(tmp_path, address, stall_timeout="3s")[0] == "resumed"
    assert server.requests[-1][1]["range"] == f"bytes={CUT}-"
    address = server.put("/b.png", SMALL, stalls=9)
    state, reason = one(tmp_path, address, "b.png", retries=1, stall_timeout="0.3s")
    assert (state, reason) == ("failed", "the server stalled")


def test_a_server_that_drips_counts_as_stalled(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", SMALL, drip=0.05)
    state, reason = one(tmp_path, address, retries=0, stall_timeout="0.3s")
    assert (state, reason) == ("failed", "the server stalled")


def test_a_head_that_drips_counts_as_stalled(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", SMALL, headers={"X-Slow": "x" * 1000}, head_drip=0.05)
    times: dict[str, Any] = {"connect_timeout": "2s", "stall_timeout": "0.3s"}
    state, reason = one(tmp_path, address, retries=0, **times)
    assert (state, reason) == ("failed", "the server stalled")


def test_a_cut_file_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", LARGE, cut=CUT, cuts=1)
    report = run(tmp_path, Download(address, tmp_path / "a.png"))
    assert report.rows[0].state == "resumed"
    assert report.summary.received == len(LARGE) - CUT
    assert (tmp_path / "a.png").read_bytes() == LARGE
    assert (
        server.requests[-1][1] | {"range": f"bytes={CUT}-", "if-range": '"1"'}
        == (server.requests[-1][1])
    )


def test_a_part_goes_on_in_the_next_run(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", LARGE, cut=CUT, cuts=1)
    assert one(tmp_path, address, retries=0) == ("failed", "the connection ended early")
    assert one(tmp_path, address)[0] == "resumed"
    assert (tmp_path / "a.png").read_bytes() == LARGE


def test_small_parts_begin_anew(server: Server, tmp_path: Path) -> None:
    assert one(tmp_path, server.put("/a.png", SMALL, cut=1000, cuts=1))[0] == "fetched"
    assert (tmp_path / "a.png").read_bytes() == SMALL


@pytest.mark.parametrize("ranges", [True, False])
def test_content_that_changed_begins_anew(server: Server, tmp_path: Path, ranges: bool) -> None:
    address = server.put(
        "/a.png", LARGE, cut=CUT, cuts=1, replacement=(OTHER, '"2"'), ranges=ranges
    )
    assert one(tmp_path, address)[0] == "fetched"
    assert (tmp_path / "a.png").read_bytes() == OTHER


def test_a_changed_file_under_one_validator_is_found_by_its_checksum(
    server: Server, tmp_path: Path
) -> None:
    address = server.put("/a.png", LARGE, cut=CUT, cuts=1, replacement=(OTHER[: len(LARGE)], '"1"'))
    wanted = "md5:" + hashlib.md5(OTHER[: len(LARGE)], usedforsecurity=False).hexdigest()
    if len(OTHER) < len(LARGE):
        pytest.skip("the other picture is shorter")
    assert one(tmp_path, address, checksum=wanted)[0] == "fetched"
    assert (tmp_path / "a.png").read_bytes() == OTHER[: len(LARGE)]


@pytest.mark.parametrize("faults", [{"ranges": False}, {"shift": 7}, {"etag": ""}])
def test_servers_without_proper_ranges(
    server: Server, tmp_path: Path, faults: dict[str, Any]
) -> None:
    assert one(tmp_path, server.put("/a.png", LARGE, cut=CUT, cuts=1, **faults))[0] == "fetched"
    assert (tmp_path / "a.png").read_bytes() == LARGE


def test_a_part_that_is_whole_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", LARGE, cut=len(LARGE), cuts=1, length=len(LARGE) + 1)
    assert one(tmp_path, address, retries=0)[0] == "failed"
    server.files["/a.png"].length = None
    # The journal believes that a byte is missing; 416 tells that none is, or the file comes anew.
    assert one(tmp_path, address)[0] in ("resumed", "fetched")
    assert (tmp_path / "a.png").read_bytes() == LARGE


@pytest.mark.parametrize("lie", [1000, -1000])
def test_a_lying_length_never_makes_a_wrong_file(server: Server, tmp_path: Path, lie: int) -> None:
    address = server.put("/a.png", LARGE, length=len(LARGE) + lie)
    state, reason = one(tmp_path, address, retries=2, size=len(LARGE))
    assert state == "failed"
    assert "bytes are offered instead of" in reason
    wanted = "sha256:" + hashlib.sha256(LARGE).hexdigest()
    state, _ = one(tmp_path, address, retries=2, checksum=wanted)
    # Of too long a length the range tells the truth in the end.
    assert state == ("resumed" if lie > 0 else "failed")
    assert lie < 0 or (tmp_path / "a.png").read_bytes() == LARGE


def test_an_end_without_a_length_is_measured(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", LARGE, chunked=True, cut=CUT, cuts=1)
    assert one(tmp_path, address, size=len(LARGE))[0] == "resumed"
    assert (tmp_path / "a.png").read_bytes() == LARGE


def test_checksums_are_verified(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", SMALL)
    for algorithm in ("md5", "sha256"):
        name = f"{algorithm}.png"
        right = f"{algorithm}:{hashlib.new(algorithm, SMALL).hexdigest().upper()}"
        assert one(tmp_path, address, name, checksum=right)[0] == "fetched"
        assert one(tmp_path, address, name, checksum=right)[0] == "skipped"
    count = server.counts["/a.png"]
    state, reason = one(tmp_path, address, checksum="sha256:" + "0" * 64)
    assert (state, reason) == ("failed", "its checksum (sha256) is not the expected one")
    assert server.counts["/a.png"] == count + 1
    assert not list(tmp_path.glob(".*.partial"))


def test_another_checksum_asks_anew(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", SMALL)
    assert one(tmp_path, address)[0] == "fetched"
    server.put("/a.png", LARGE)
    wanted = f"sha256:{hashlib.sha256(LARGE).hexdigest()}"
    assert one(tmp_path, address, checksum=wanted)[0] == "fetched"
    assert (tmp_path / "a.png").read_bytes() == LARGE


@pytest.mark.parametrize(
    ("body", "name", "kind"),
    [
        (b"<!DOCTYPE html><title>Gone</title>" + bytes(500), "a.jpg", "a page of HTML came"),
        (b"\xef\xbb\xbf\n <html><body>sign in</body></html>", "a.PNG", "a page of HTML came"),
        (b"<html>" + bytes(600_000), "a.zip", "a page of HTML came instead of .zip"),
        (b'{"error": "quota"}', "a.jpeg", "JSON came instead of an image"),
        (b"", "a.jpg", "nothing came instead of an image"),
        (b"PK\x03\x04" + bytes(100), "a.jpg", "a zip archive came"),
        (bytes(100), "a.webp", "something else came"),
    ],
)
def test_what_is_no_image_is_refused(
    server: Server, tmp_path: Path, body: bytes, name: str, kind: str
) -> None:
    state, reason = one(tmp_path, server.put("/a.jpg", body), name)
    assert state == "failed"
    assert kind in reason
    assert server.counts["/a.jpg"] == 1


def test_a_compressed_answer_is_refused(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.json", b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert "compressed" in one(tmp_path, address, "a.json")[1]


@pytest.mark.parametrize("chunked", [True, False])
def test_too_large_a_file_is_refused(server: Server, tmp_path: Path, chunked: bool) -> None:
    address = server.put("/a.png", LARGE, chunked=chunked)
    state, reason = one(tmp_path, address, largest_file="100kB")
    assert (state, reason) == ("failed", "larger than download.largest_file = 100,000 bytes")


@pytest.mark.parametrize(
    "address",
    ["ftp://127.0.0.1/a.png", "http:///a.png", "http://[::1/a.png", "a.png", "http://h:x/a.png"],
)
def test_addresses_that_are_none_are_refused(tmp_path: Path, address: str) -> None:
    assert one(tmp_path, address)[0] == "failed"


def test_a_host_that_is_down_is_given_up(tmp_path: Path) -> None:
    with Server() as gone:
        pass
    items = [Download(gone.url(f"/{i}.png"), tmp_path / f"{i}.png") for i in range(60)]
    report = run(tmp_path, *items, retries=1)
    assert report.summary.states["failed"] == 60
    given_up = report.summary.reasons[
        "requests to the host were stopped: the host cannot be reached"
    ]
    assert given_up > 30
    assert all(row.passing for row in report.rows)


def test_politeness(server: Server, tmp_path: Path) -> None:
    items = [Download(server.put(f"/{i}.png", SMALL), tmp_path / f"{i}.png") for i in range(12)]
    server.pause = 0.01
    run(tmp_path, *items, connections_per_host=3, contact="a@b.example")
    assert server.most == 3
    agent = server.requests[0][1]["user-agent"]
    assert agent.startswith("chromaflow/")
    assert "a@b.example" in agent


def test_hosts_are_asked_in_turn_and_not_too_fast(tmp_path: Path) -> None:
    with Server() as first, Server() as second:
        items = [
            Download(server.put(f"/{i}.png", SMALL), tmp_path / f"{name}{i}.png")
            for name, server in (("a", first), ("b", second))
            for i in range(6)
        ]
        first.pause = second.pause = 0.02
        report = run(tmp_path, *items, connections_per_host=1, host_delay="0.01s")
        assert report.summary.states["fetched"] == 12
        assert (first.most, second.most) == (1, 1)


def test_a_proxy_s_password_reaches_it_and_nobody_else(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{server.port}")
    server.put("/a.png", SMALL)
    assert one(tmp_path, "http://photos.invalid/a.png")[0] == "fetched"
    assert server.requests[0][0] == "http://photos.invalid/a.png"
    assert server.requests[0][1]["proxy-authorization"] == "Basic bWU6c2VjcmV0"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert one(tmp_path, server.url("/a.png"), "b.png")[0] == "fetched"
    assert "proxy-authorization" not in server.requests[-1][1]
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:1")
    with pytest.raises(ServerError, match="the proxy cannot be reached") as caught:
        fetch_one(Download("http://photos.invalid/a", tmp_path / "c"), policy(retries=0))
    assert "secret" not in str(caught.value) + capsys.readouterr().err


def test_settings_hold_no_password(tmp_path: Path) -> None:
    for values in (
        {"proxy": "http://me:secret@proxy.example:80"},
        {"mirrors": {"http://a/": "http://me:secret@b/"}},
        {"proxy": "socks5://proxy.example:80"},
    ):
        with pytest.raises(SettingsError, match=r"download\.") as caught:
            run(tmp_path, Download("http://127.0.0.1/a", tmp_path / "a"), **values)
        assert "secret" not in str(caught.value)


def test_one_necessary_file(server: Server, tmp_path: Path) -> None:
    body = b"annotations" * 100_000
    item = Download(server.put("/a.zip?key=secret", body), tmp_path / "a.zip")
    server.put("/a.zip", body)
    assert fetch_one(item, policy(largest_file="1kB")).read_bytes() == body
    fetch_one(item, policy())
    assert server.counts["/a.zip"] == 1
    gone = Download("http://me:word@" + server.url("/b.zip?key=secret")[7:], tmp_path / "b.zip")
    with pytest.raises(DataError, match=r"/b\.zip\?… cannot be fetched: .*404 Not Found") as caught:
        fetch_one(gone, policy(), remedy="chromaflow ingest --set source.archive=PATH")
    assert caught.value.remedy.endswith("PATH")
    assert "secret" not in str(caught.value)
    assert "word" not in str(caught.value)
    late = Download(server.put("/c.zip", body, failures=9), tmp_path / "c.zip")
    with pytest.raises(ServerError, match="500") as passing:
        fetch_one(late, policy(retries=1))
    assert "it resumes" in passing.value.remedy


def test_the_table_groups_reasons(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [Download(server.put("/a.png", SMALL), tmp_path / "a.png")]
    items += [Download(server.url(f"/{i}.png"), tmp_path / f"{i}.png") for i in range(4)]
    items += [Download("gopher" + "x" * i + "://a/b", tmp_path / f"x{i}") for i in range(4)]
    items += [
        Download(server.put(f"/s{i}.png", SMALL + bytes(i)), tmp_path / f"s{i}.png", size=10**6 + i)
        for i in range(3)
    ]
    report = run(tmp_path, *items)
    assert report.summary.reasons["the server answered 404 Not Found"] == 4
    assert report.summary.reasons["N bytes are offered instead of N"] == 3
    assert len(report.failed) == 11
    fetch.show(report.summary + report.summary)
    text = capsys.readouterr().err
    assert re.search("404 Not Found +. +8 ", text)
    assert "files/s" in text
