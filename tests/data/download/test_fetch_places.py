"""Where files come from and go to: mirrors, object stores, caches, disks."""

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from chromaflow.data.download import partial_file
from chromaflow.data.download.fetch import Download, download, fetch_one
from chromaflow.errors import DataError
from tests.support.downloads import CUT, LARGE, OTHER, SMALL, one, policy, run
from tests.support.http_server import Server


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
    assert (state, reason) == ("failed", "the store has no such file")
    state, reason = one(cache, address, "d.png", mirrors=mirrors, largest_file="1kB")
    assert state == "failed"
    assert "download.largest_file" in reason


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_object_stores_serve_as_mirrors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scheme: str
) -> None:
    import fsspec

    store = MemoryFileSystem()
    monkeypatch.setattr(fsspec, "filesystem", lambda kind: {scheme: store}[kind])
    store.pipe("/bucket/m/a b[1].png", LARGE)
    store.pipe("/bucket/m/page.png", b"<html>sign in</html>")
    mirrors = {"http://gone.invalid/": f"{scheme}://bucket/m/"}
    wanted: dict[str, Any] = {
        "size": len(LARGE),
        "checksum": "sha256:" + hashlib.sha256(LARGE).hexdigest(),
    }
    address = "http://gone.invalid/a b[1].png"
    assert one(tmp_path, address, mirrors=mirrors, **wanted)[0] == "fetched"
    assert (tmp_path / "a.png").read_bytes() == LARGE
    assert one(tmp_path, address, mirrors=mirrors, **wanted)[0] == "skipped"
    assert "other" not in one(tmp_path, address, "b.png", mirrors=mirrors, size=7)[1]
    state, reason = one(tmp_path, "http://gone.invalid/page.png", "c.png", mirrors=mirrors)
    assert (state, reason) == ("failed", "a page of HTML came instead of an image")
    state, reason = one(tmp_path, "http://gone.invalid/no.png", "d.png", mirrors=mirrors)
    assert (state, reason) == ("failed", "the store has no such file")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("key=secret")

    monkeypatch.setattr(store, "open", refuse)
    state, reason = one(tmp_path, address, "e.png", mirrors=mirrors, retries=1)
    assert (state, reason) == ("failed", "the store failed: RuntimeError")
    assert not list(tmp_path.glob(".*.partial"))


def test_a_store_whose_package_is_missing_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr("fsspec.filesystem", missing)
    with pytest.raises(DataError, match="s3:// addresses need a package") as caught:
        run(tmp_path, Download("s3://bucket/a.png", tmp_path / "a.png"))
    assert caught.value.remedy == "pip install s3fs"


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for place in ((tmp_path / "pipe.png").as_uri(), "file:///dev/zero"):
        assert one(tmp_path, place, "b.png") == ("failed", "the store has no such file")


def test_a_cache_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    item = Download(server.put("/a.png", SMALL), tmp_path / "file" / "a.png")
    with pytest.raises(DataError, match="file: ") as caught:
        download([item], policy())
    assert "permissions" in caught.value.remedy
    with pytest.raises(DataError, match="file: "):
        fetch_one(item, policy())
    assert not server.requests


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_cache_without_permission_is_named(server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="Permission denied"):
        run(tmp_path, Download(server.put("/a.png", SMALL), tmp_path / "a.png"))


def test_what_does_not_fit_is_not_begun(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage(tmp_path))(10**9, 0, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    item = Download(server.put("/a.png", SMALL), tmp_path / "a.png", size=2 * 10**6)
    with pytest.raises(DataError, match=r"about 2\.0 MB do not fit .* 1\.0 MB are free"):
        run(tmp_path, item)
    unknown = Download(item.address, item.path)
    with pytest.raises(DataError, match=r"download\.typical_file"):
        run(tmp_path, unknown, typical_file="3MB")
    assert not server.requests


def test_a_full_disk_ends_all_and_keeps_what_is_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [Download(server.put(f"/{i}.png", SMALL), tmp_path / f"{i}.png") for i in range(9)]
    calls = []

    def write(file: int, content: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(file, content, offset)

    original = os.pwrite
    monkeypatch.setattr(os, "pwrite", write)
    with pytest.raises(DataError, match=r"the disk is full\. What has arrived is kept"):
        run(tmp_path, *items)
    monkeypatch.undo()
    there = len(list(tmp_path.glob("*.png")))
    assert there == 5
    assert run(tmp_path, *items).summary.states["skipped"] == there


@pytest.mark.parametrize("changed", [False, True])
def test_a_large_file_of_a_store_goes_on_if_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    store = MemoryFileSystem()
    lost: list[int] = []
    monkeypatch.setattr("fsspec.filesystem", lambda _: store)
    monkeypatch.setattr("chromaflow.data.download.object_store._BLOCK", 100_000)
    store.pipe("/bucket/a.png", LARGE)
    original = partial_file.Partial.write

    def write(part: partial_file.Partial, data: bytes) -> None:
        if part.size >= CUT and not lost:
            lost.append(part.size)
            store.pipe("/bucket/a.png", OTHER if changed else LARGE)
            raise ConnectionResetError
        original(part, data)

    monkeypatch.setattr(partial_file.Partial, "write", write)
    item = Download("s3://bucket/a.png", tmp_path / "a.png")
    if not changed:  # this store's key holds the time of writing
        monkeypatch.setattr(store, "ukey", lambda _: "the same")
    (row,) = run(tmp_path, item).rows
    assert row.state == ("fetched" if changed else "resumed")
    assert row.received == (len(OTHER) if changed else len(LARGE) - CUT)
    assert item.path.read_bytes() == (OTHER if changed else LARGE)
