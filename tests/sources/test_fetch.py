import errno
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from chromaflow.errors import DataError, ServerError, SettingsError
from chromaflow.settings import Download as Policy
from chromaflow.sources import addresses, fetch, partial
from chromaflow.sources.fetch import Download, Report, download, fetch_one
from tests.sources.server import Server


def encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SMALL = encode(Image.fromarray(data.chelsea()[:64, :64]))
# Noise does not shrink: large enough that a part of it is worth keeping.
NOISE = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
LARGE = encode(Image.fromarray(NOISE))
OTHER = encode(Image.fromarray(NOISE[::-1].copy()))
CUT = 300_000


def policy(**values: object) -> Policy:
    fast = {"reserve": "1B", "retry_delay": "0.01s", "stall_timeout": "0.3s"}
    return Policy.model_validate(fast | values)


@pytest.fixture
def server():
    with Server() as started:
        yield started


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def run(cache: Path, *items: Download, **values: object) -> Report:
    return download(items, policy(**values), cache=cache)


def one(cache: Path, address: str, name: str = "a.png", **values: object) -> tuple[str, str]:
    """State and reason of a single file."""
    told = {key: values.pop(key) for key in ("size", "checksum") if key in values}
    row = run(cache, Download(address, cache / name, **told), **values).rows[0]
    assert (row.state == "failed") == (not (cache / name).exists())
    return row.state, row.reason


def test_files_arrive_whole_and_are_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    items = [
        Download(server.put(f"/{i}.png", SMALL + bytes([i])), tmp_path / f"{i % 3}" / f"{i}.png")
        for i in range(30)
    ]
    report = run(tmp_path, *items)
    assert report.count("fetched") == 30
    assert report.received == 30 * (len(SMALL) + 1)
    assert all(item.path.read_bytes() == SMALL + bytes([i]) for i, item in enumerate(items))
    assert run(tmp_path, *items).count("skipped") == 30
    assert set(server.whole.values()) == {1}
    assert not list(tmp_path.rglob("*.partial"))


def test_a_file_that_was_taken_out_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", SMALL)
    assert one(tmp_path, address)[0] == "fetched"
    (tmp_path / "a.png").unlink()
    assert one(tmp_path, address)[0] == "fetched"


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


def test_retry_after_is_honoured(server: Server, tmp_path: Path, monkeypatch) -> None:
    paused = []
    original = fetch.Schedule.pause
    monkeypatch.setattr(fetch.Schedule, "pause", lambda *a: (paused.append(a[2]), original(*a))[1])
    address = server.put("/a.png", SMALL, busy=1, retry_after="1")
    assert one(tmp_path, address)[0] == "fetched"
    assert paused == [1.0]
    address = server.put("/b.png", SMALL, busy=9, retry_after="3600")
    state, reason = one(tmp_path, address, "b.png")
    assert state == "failed"
    assert "asks to wait 3600 s (download.longest_wait" in reason
    assert server.counts["/b.png"] == 1


def test_a_stalled_server_is_left_and_asked_again(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", LARGE, stall=CUT, stalls=1)
    assert one(tmp_path, address)[0] == "resumed"
    assert server.requests[-1][1]["range"] == f"bytes={CUT}-"
    state, reason = one(tmp_path, server.put("/b.png", SMALL, stalls=9), "b.png", retries=1)
    assert (state, reason) == ("failed", "the server stalled")


def test_a_server_that_drips_counts_as_stalled(server: Server, tmp_path: Path) -> None:
    state, reason = one(tmp_path, server.put("/a.png", SMALL, drip=0.05), retries=0)
    assert (state, reason) == ("failed", "the server stalled")


def test_a_cut_file_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", LARGE, cut=CUT, cuts=1)
    report = run(tmp_path, Download(address, tmp_path / "a.png"))
    assert report.rows[0].state == "resumed"
    assert report.received == len(LARGE) - CUT
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
def test_servers_without_proper_ranges(server: Server, tmp_path: Path, faults: dict) -> None:
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


def test_redirects_are_followed_but_not_for_ever(server: Server, tmp_path: Path) -> None:
    server.put("/a.png", SMALL)
    for number in range(5):
        server.put(f"/{number}", location=f"/{number + 1}" if number < 4 else "/a.png")
    assert one(tmp_path, server.url("/0"))[0] == "fetched"
    server.put("/more", location="/0")
    assert one(tmp_path, server.url("/more"), "b.png") == ("failed", "redirected more than 5 times")
    assert one(tmp_path, server.put("/loop", location="/loop"), "c.png")[0] == "failed"
    assert server.counts["/loop"] == 6


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/a.png", "http://[bad", "javascript:1"]
)
def test_redirects_to_other_kinds_are_refused(server: Server, tmp_path: Path, place: str) -> None:
    state, reason = one(tmp_path, server.put("/a", location=place))
    assert state == "failed"
    assert "redirected to" in reason or "cannot be read" in reason


def treat_as_public(monkeypatch, *public: str) -> None:
    monkeypatch.setattr(addresses, "is_private", lambda ip: ip not in public)


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "169.254.169.254", "[::1]"])
def test_redirects_into_a_private_network_are_refused(
    server: Server, tmp_path: Path, monkeypatch, host: str
) -> None:
    treat_as_public(monkeypatch, "127.0.0.1" if host != "localhost" else "127.0.0.9")
    place = f"http://{host}:{server.port}/a.png"
    server.put("/a.png", SMALL)
    first = server.put("/first", location=place)
    if host == "localhost":  # resolves to what is private here, unlike the first address
        monkeypatch.setattr("chromaflow.sources.transfer.Transfer._is_private", never)
    assert one(tmp_path, first) == ("failed", "redirected to a private network")
    assert server.counts["/a.png"] == 0


async def never(*_: object) -> bool:
    return False


def test_redirects_within_a_public_network_are_followed(
    server: Server, tmp_path: Path, monkeypatch
) -> None:
    treat_as_public(monkeypatch, "127.0.0.1")
    server.put("/a.png", SMALL)
    assert one(tmp_path, server.put("/first", location="/a.png"))[0] == "fetched"


@pytest.mark.parametrize(
    "address",
    ["ftp://127.0.0.1/a.png", "http:///a.png", "http://[::1/a.png", "a.png", "http://h:x/a.png"],
)
def test_addresses_that_are_none_are_refused(tmp_path: Path, address: str) -> None:
    assert one(tmp_path, address)[0] == "failed"


@pytest.mark.parametrize("name", ["../a.png", "b/../../a.png", ".downloads.jsonl", "x" * 300])
def test_paths_out_of_the_cache_are_refused(server: Server, tmp_path: Path, name: str) -> None:
    cache = tmp_path / "cache"
    item = Download(server.put("/a.png", SMALL), cache / name)
    assert run(cache, item).rows[0].state == "failed"
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}
    assert {path.name for path in cache.iterdir()} <= {".downloads.jsonl", ".downloads.lock"}


def test_a_path_that_something_else_has_fails_alone(server: Server, tmp_path: Path) -> None:
    address = server.put("/a.png", SMALL)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    names = ("folder.png", "file/a.png", "fine.png")
    report = run(tmp_path, *(Download(address, tmp_path / name) for name in names))
    assert [row.state for row in report.rows] == ["failed", "failed", "fetched"]


def test_a_host_that_is_down_is_given_up(tmp_path: Path) -> None:
    with Server() as gone:
        pass
    items = [Download(gone.url(f"/{i}.png"), tmp_path / f"{i}.png") for i in range(60)]
    report = run(tmp_path, *items, retries=1)
    assert report.count("failed") == 60
    assert report.reasons[0][0] == "the host was given up: the host cannot be reached"
    assert report.reasons[0][1] > 30
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
        assert report.count("fetched") == 12
        assert (first.most, second.most) == (1, 1)


def test_a_proxy_s_password_reaches_it_and_nobody_else(
    server: Server, tmp_path: Path, monkeypatch, capsys
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


def test_mirrors_replace_the_longest_prefix(server: Server, tmp_path: Path) -> None:
    server.put("/m/a.png", SMALL)
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "é b.png").write_bytes(LARGE)
    mirrors = {
        "http://gone.invalid/": server.url("/m/"),
        "http://gone.invalid/shelf/": (tmp_path / "shelf").as_uri() + "/",
    }
    cache = tmp_path / "cache"
    assert one(cache, "http://gone.invalid/a.png", mirrors=mirrors)[0] == "fetched"
    address = "http://gone.invalid/shelf/%C3%A9%20b.png"
    assert one(cache, address, "b.png", mirrors=mirrors)[0] == "fetched"
    assert (cache / "b.png").read_bytes() == LARGE
    state, reason = one(cache, "http://gone.invalid/shelf/no.png", "c.png", mirrors=mirrors)
    assert (state, reason) == ("failed", "the store holds no such file")
    state, reason = one(cache, address, "d.png", mirrors=mirrors, largest_file="1kB")
    assert state == "failed"
    assert "download.largest_file" in reason


def test_what_does_not_fit_is_not_begun(server: Server, tmp_path: Path, monkeypatch) -> None:
    usage = type(fetch.shutil.disk_usage(tmp_path))(10**9, 0, 10**6)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage)
    item = Download(server.put("/a.png", SMALL), tmp_path / "a.png", size=2 * 10**6)
    with pytest.raises(DataError, match=r"about 2\.0 MB do not fit .* 1\.0 MB are free"):
        run(tmp_path, item)
    unknown = Download(item.address, item.path)
    with pytest.raises(DataError, match=r"download\.typical_file"):
        run(tmp_path, unknown, typical_file="3MB")
    assert not server.requests


def test_a_full_disk_ends_all_and_keeps_what_is_there(
    server: Server, tmp_path: Path, monkeypatch
) -> None:
    items = [Download(server.put(f"/{i}.png", SMALL), tmp_path / f"{i}.png") for i in range(9)]
    calls = []

    def write(file: int, content: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(file, content, offset)

    original = os.pwrite
    monkeypatch.setattr(partial.os, "pwrite", write)
    with pytest.raises(DataError, match=r"the disk is full\. What has arrived is kept"):
        run(tmp_path, *items)
    monkeypatch.undo()
    there = len(list(tmp_path.glob("*.png")))
    assert there == 5
    assert run(tmp_path, *items).count("skipped") == there


def test_one_necessary_file(server: Server, tmp_path: Path) -> None:
    body = b"annotations" * 100_000
    item = Download(server.put("/a.zip?key=secret", body), tmp_path / "a.zip")
    server.put("/a.zip", body)
    assert fetch_one(item, policy(largest_file="1kB")).read_bytes() == body
    fetch_one(item, policy())
    assert server.counts["/a.zip"] == 1
    gone = Download("http://me:word@" + server.url("/b.zip?key=secret")[7:], tmp_path / "b.zip")
    with pytest.raises(DataError, match=r"/b\.zip\?… cannot be fetched: .*404 Not Found") as caught:
        fetch_one(gone, policy(), mend="chromaflow ingest --set source.archive=PATH")
    assert caught.value.mend.endswith("PATH")
    assert "secret" not in str(caught.value)
    assert "word" not in str(caught.value)
    late = Download(server.put("/c.zip", body, failures=9), tmp_path / "c.zip")
    with pytest.raises(ServerError, match="500") as passing:
        fetch_one(late, policy(retries=1))
    assert "it goes on" in passing.value.mend


def test_the_table_groups_reasons(server: Server, tmp_path: Path, capsys) -> None:
    items = [Download(server.put("/a.png", SMALL), tmp_path / "a.png")]
    items += [Download(server.url(f"/{i}.png"), tmp_path / f"{i}.png") for i in range(4)]
    items += [Download("gopher" + "x" * i + "://a/b", tmp_path / f"x{i}") for i in range(4)]
    items += [
        Download(server.put(f"/s{i}.png", SMALL + bytes(i)), tmp_path / f"s{i}.png", size=10**6 + i)
        for i in range(3)
    ]
    report = run(tmp_path, *items)
    assert report.reasons[0] == ("the server answered 404 Not Found", 4)
    assert report.reasons[1] == ("N bytes are offered instead of N", 3)
    assert len(report.failed) == 11
    fetch.show(report + Report([], 1.0))
    text = capsys.readouterr().err
    assert "404 Not Found" in text
    assert "files/s" in text
