import contextlib
import errno
import functools
import http.server
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Never

import fsspec
import numpy as np
import pytest

from chromaflow.data.store import chunks, mirror
from chromaflow.data.store.mirror import Mirror
from chromaflow.data.store.read import LabItem, LabShards
from chromaflow.errors import DataError, ServerError, SettingsError, UserError
from tests.support.lab_items import items_of

IMAGES = 30


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_PAUSE", 0)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A copy of data/lab, six chunks of five images each."""
    folder = tmp_path / "there" / "train"
    lab = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    items = [LabItem(id=str(number), lab=lab + np.uint8(number)) for number in range(IMAGES)]
    found = chunks.write(folder, "group", 5 * 3200, items)
    chunks.write_index(folder, found, 5 * 3200)
    assert len(found) == 6
    return folder.parent


@pytest.fixture
def here(there: Path, tmp_path: Path) -> Path:
    """Where only the index is."""
    folder = tmp_path / "here" / "train"
    folder.mkdir(parents=True)
    shutil.copy(there / "train" / "index.json", folder)
    return folder


def through(there: Path, tmp_path: Path, limit: int = 2**30, address: str | None = None) -> Mirror:
    return Mirror(address or there.as_uri(), tmp_path / "cache", limit)


def largest_of(there: Path) -> int:
    return max(path.stat().st_size for path in (there / "train").glob("*.bin"))


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "train").glob("*"))


def test_without_a_mirror_all_must_be_there(here: Path) -> None:
    with pytest.raises(DataError, match="missing or truncated"):
        LabShards(here)


def test_the_same_images_come_through_the_cache(there: Path, here: Path, tmp_path: Path) -> None:
    whole, shards = LabShards(there / "train"), LabShards(here, through(there, tmp_path))
    assert not cached(tmp_path)
    shards[7]
    assert len(cached(tmp_path)) == 1
    for position in np.random.default_rng(1).permutation(IMAGES):
        assert shards[position]["id"] == whole[position]["id"]
        assert np.array_equal(shards[position]["lab"], whole[position]["lab"])
    assert len(cached(tmp_path)) == 6
    assert [path.name for path in here.iterdir()] == ["index.json"]


def test_what_is_cached_or_here_is_not_fetched(
    there: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sorted((there / "train").glob("*.bin"))[0]
    shutil.copy(first, here)
    items_of(LabShards(here, through(there, tmp_path)))
    assert len(cached(tmp_path)) == 5
    monkeypatch.setattr(Mirror, "_copy", None)
    again = pickle.loads(pickle.dumps(LabShards(here, through(there, tmp_path))))  # noqa: S301
    assert [item["id"] for item in items_of(again)] == [str(number) for number in range(IMAGES)]


def test_the_cache_stays_small_and_keeps_what_was_used_last(
    there: Path, here: Path, tmp_path: Path
) -> None:
    size = sorted((there / "train").glob("*.bin"))[0].stat().st_size
    shards = LabShards(here, through(there, tmp_path, limit=3 * size))
    for position in (0, 5, 10, 1, 15, 2, 20):
        assert shards[position]["id"] == str(position)
        assert sum(path.stat().st_size for path in cached(tmp_path)) <= 3 * size
        # Ages that a coarse clock tells apart.
        for number, path in enumerate(sorted(cached(tmp_path), key=lambda p: p.stat().st_mtime)):
            os.utime(path, (number, number))
    assert shards.fetch(4) in cached(tmp_path)


def test_a_limit_below_one_chunk_is_refused(there: Path, here: Path, tmp_path: Path) -> None:
    size = largest_of(there)
    with pytest.raises(SettingsError, match=r"runtime\.mirror_cache"):
        items_of(LabShards(here, through(there, tmp_path, limit=size - 1)))
    assert [
        item["id"] for item in items_of(LabShards(here, through(there, tmp_path, limit=size)))
    ] == [str(number) for number in range(IMAGES)]
    assert len(cached(tmp_path)) == 1


def test_many_readers_share_a_cache_and_fetch_each_chunk_once(
    there: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, real = [], Mirror._copy

    def copy(self: Mirror, name: str, *rest: Any) -> None:
        copied.append(name)
        real(self, name, *rest)

    monkeypatch.setattr(Mirror, "_copy", copy)

    def read(_: int) -> list[str]:
        shards = LabShards(here, through(there, tmp_path))
        return [item["id"] for item in items_of(shards)]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(read, range(4)))
    assert results == [[str(number) for number in range(IMAGES)]] * 4
    assert sorted(copied) == sorted(set(copied))


def test_readers_of_a_tiny_cache_take_nothing_from_each_other(
    there: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_WAIT", 0.001)
    limit = largest_of(there)

    def read(seed: int) -> bool:
        shards = LabShards(here, through(there, tmp_path, limit=limit))
        order = np.random.default_rng(seed).permutation(IMAGES)
        return [shards[position]["id"] for position in order] == [str(p) for p in order]

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(read, range(3)))


READER = """
import sys
from pathlib import Path
import numpy as np
from chromaflow.data.store.mirror import Mirror
from chromaflow.data.store.read import LabShards
here, there, cache, limit, seed = sys.argv[1:]
shards = LabShards(Path(here), Mirror(there, Path(cache), int(limit)))
for position in np.random.default_rng(int(seed)).permutation(len(shards)).tolist() * 4:
    assert shards[position]["id"] == str(position)
"""


def test_two_processes_never_exceed_the_bound_together(
    there: Path, here: Path, tmp_path: Path
) -> None:
    limit = 2 * largest_of(there)
    arguments = [str(here), there.as_uri(), str(tmp_path / "cache"), str(limit)]
    readers = [subprocess.Popen([sys.executable, "-c", READER, *arguments, seed]) for seed in "12"]
    largest = 0
    while any(reader.poll() is None for reader in readers):
        sizes = []
        # What is deleted meanwhile counts for nothing; what is made meanwhile was not listed.
        for path in (tmp_path / "cache").glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        largest = max(largest, sum(sizes)) if len(sizes) <= 2 else largest
        time.sleep(0.002)
    assert [reader.returncode for reader in readers] == [0, 0]
    assert 0 < largest <= limit
    assert sum(path.stat().st_size for path in cached(tmp_path)) <= limit


def test_what_is_read_keeps_no_deleted_file_open(there: Path, here: Path, tmp_path: Path) -> None:
    limit = largest_of(there)
    shards = LabShards(here, through(there, tmp_path, limit=limit))
    assert len(items_of(shards)) == IMAGES
    links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [link for link in links if link.is_relative_to(tmp_path / "cache")]


def test_what_a_killed_process_was_fetching_makes_room(
    there: Path, here: Path, tmp_path: Path
) -> None:
    limit = largest_of(there)
    left = tmp_path / "cache" / "train" / "other.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(limit))
    assert LabShards(here, through(there, tmp_path, limit=limit))[0]["id"] == "0"
    assert not left.exists()


def test_from_object_storage(
    there: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mirror._PACKAGES, "memory", "fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(there), "/lab", recursive=True)
    try:
        shards = LabShards(here, through(there, tmp_path, address="memory://lab"))
        assert [item["id"] for item in items_of(shards)] == [
            str(number) for number in range(IMAGES)
        ]
        victim = sorted(path.name for path in cached(tmp_path))[0]
        shutil.rmtree(tmp_path / "cache")
        content = bytearray(memory.cat(f"/lab/train/{victim}"))
        content[500] ^= 1
        memory.pipe(f"/lab/train/{victim}", bytes(content))
        with pytest.raises(DataError, match=f"{victim} does not match the index"):
            items_of(LabShards(here, through(there, tmp_path, address="memory://lab")))
        assert not [path for path in cached(tmp_path) if path.suffix != ".bin"]
    finally:
        memory.rm("/lab", recursive=True)


def test_over_http(there: Path, here: Path, tmp_path: Path) -> None:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(there))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        shards = LabShards(here, through(there, tmp_path, address=address))
        assert [item["id"] for item in items_of(shards)] == [
            str(number) for number in range(IMAGES)
        ]
        server.shutdown()


class TestFaults:
    def fails(self, shards: LabShards, error: type[Exception], *patterns: str) -> None:
        with pytest.raises(error) as caught:
            shards[0]
        for pattern in patterns:
            assert pattern in str(caught.value)

    @pytest.mark.parametrize("address", ["s3:bucket", "/data/lab", "ftp://host/lab", "lab"])
    def test_no_address(self, address: str, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"runtime\.mirror"):
            Mirror(address, tmp_path, 1)

    def test_missing_there(self, there: Path, here: Path, tmp_path: Path) -> None:
        sorted((there / "train").glob("*.bin"))[0].unlink()
        self.fails(LabShards(here, through(there, tmp_path)), DataError, "there holds no train/")

    def test_cut_short_there(self, there: Path, here: Path, tmp_path: Path) -> None:
        victim = sorted((there / "train").glob("*.bin"))[0]
        victim.write_bytes(victim.read_bytes()[:-1])
        shards = LabShards(here, through(there, tmp_path))
        self.fails(shards, DataError, victim.name, "does not match the index")
        assert not cached(tmp_path)

    def test_longer_there(self, there: Path, here: Path, tmp_path: Path) -> None:
        victim = sorted((there / "train").glob("*.bin"))[0]
        victim.write_bytes(victim.read_bytes() + bytes(10))
        self.fails(LabShards(here, through(there, tmp_path)), DataError, "does not match the index")

    def test_an_index_without_digests(self, there: Path, here: Path, tmp_path: Path) -> None:
        path = here / "index.json"
        index = json.loads(path.read_text())
        for chunk in index["chunks"]:
            del chunk["sha256"]
        path.write_text(json.dumps(index))
        self.fails(LabShards(here, through(there, tmp_path)), DataError, "no SHA-256")

    def test_a_server_that_is_gone(self, there: Path, here: Path, tmp_path: Path) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{unused.getsockname()[1]}/lab"
        shards = LabShards(here, through(there, tmp_path, address=address))
        self.fails(shards, ServerError, f"{address} does not give train/")
        assert not cached(tmp_path)

    def test_no_answer_is_asked_again_and_tells_no_secret(
        self, there: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries = []

        real = Mirror._copy

        def copy(self: Mirror, name: str, *rest: Any) -> None:
            tries.append(name)
            if len(tries) < 6:
                raise TimeoutError("https://me:secret@host/lab?key=secret")
            real(through(there, tmp_path), name, *rest)

        monkeypatch.setattr(Mirror, "_copy", copy)
        address = "https://me:secret@host/lab?key=secret"
        shards = LabShards(here, through(there, tmp_path, address=address))
        with pytest.raises(ServerError, match="https://host/lab does not give") as caught:
            shards[0]
        assert "secret" not in str(caught.value)
        assert len(tries) == 3
        assert shards[0]["id"] == "0"

    def test_a_package_that_is_missing_is_named(
        self, there: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def copy(self: Mirror, *_: object) -> None:
            raise ImportError("Install s3fs to access S3")

        monkeypatch.setattr(Mirror, "_copy", copy)
        shards = LabShards(here, through(there, tmp_path, address="s3://bucket/lab"))
        self.fails(shards, DataError, "pip install s3fs")

    def test_full_disk(
        self, there: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fsync(_: int) -> Never:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("chromaflow.data.store.mirror.os.fsync", fsync)
        shards = LabShards(here, through(there, tmp_path))
        self.fails(shards, UserError, "No space left", "runtime.mirror_cache")
        assert not cached(tmp_path)
