import errno
import functools
import http.server
import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from chromaflow.errors import DataError, ServerError, SettingsError, UserError
from chromaflow.store import chunks, mirror
from chromaflow.store.mirror import Mirror
from chromaflow.store.read import LabShards

IMAGES = 30


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(mirror, "_PAUSE", 0)


@pytest.fixture
def there(tmp_path):
    """A copy of data/lab, six chunks of five images each."""
    folder = tmp_path / "there" / "train"
    lab = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    items = [{"id": str(number), "lab": lab + np.uint8(number)} for number in range(IMAGES)]
    found = chunks.write(folder, "group", 5 * 3200, items)
    chunks.write_index(folder, found, 5 * 3200)
    assert len(found) == 6
    return folder.parent


@pytest.fixture
def here(there, tmp_path):
    """Where only the index is."""
    folder = tmp_path / "here" / "train"
    folder.mkdir(parents=True)
    shutil.copy(there / "train" / "index.json", folder)
    return folder


def through(there, tmp_path, limit=2**30, address=None):
    return Mirror(address or there.as_uri(), tmp_path / "cache", limit)


def cached(tmp_path):
    return sorted((tmp_path / "cache" / "train").glob("*"))


def test_without_a_mirror_all_must_be_there(here):
    with pytest.raises(DataError, match="missing or cut short"):
        LabShards(here)


def test_the_same_images_come_through_the_cache(there, here, tmp_path):
    whole, shards = LabShards(there / "train"), LabShards(here, through(there, tmp_path))
    assert not cached(tmp_path)
    shards[7]
    assert len(cached(tmp_path)) == 1
    for position in np.random.default_rng(1).permutation(IMAGES):
        assert shards[position]["id"] == whole[position]["id"]
        assert np.array_equal(shards[position]["lab"], whole[position]["lab"])
    assert len(cached(tmp_path)) == 6
    assert [path.name for path in here.iterdir()] == ["index.json"]


def test_what_is_cached_or_here_is_not_fetched(there, here, tmp_path, monkeypatch):
    first = sorted((there / "train").glob("*.bin"))[0]
    shutil.copy(first, here)
    list(LabShards(here, through(there, tmp_path)))
    assert len(cached(tmp_path)) == 5
    monkeypatch.setattr(Mirror, "_copy", None)
    again = pickle.loads(pickle.dumps(LabShards(here, through(there, tmp_path))))  # noqa: S301
    assert [item["id"] for item in again] == [str(number) for number in range(IMAGES)]


def test_the_cache_stays_small_and_keeps_what_was_used_last(there, here, tmp_path):
    size = sorted((there / "train").glob("*.bin"))[0].stat().st_size
    shards = LabShards(here, through(there, tmp_path, limit=3 * size))
    for position in (0, 5, 10, 1, 15, 2, 20):
        assert shards[position]["id"] == str(position)
        assert sum(path.stat().st_size for path in cached(tmp_path)) <= 3 * size
        # Ages that a coarse clock tells apart.
        for number, path in enumerate(sorted(cached(tmp_path), key=lambda p: p.stat().st_mtime)):
            os.utime(path, (number, number))
    assert shards.fetch(4) in cached(tmp_path)


def test_a_limit_below_one_chunk_still_reads(there, here, tmp_path):
    shards = LabShards(here, through(there, tmp_path, limit=0))
    assert [item["id"] for item in shards] == [str(number) for number in range(IMAGES)]
    assert len(cached(tmp_path)) == 1


def test_many_readers_share_a_cache_and_fetch_each_chunk_once(there, here, tmp_path, monkeypatch):
    copied, real = [], Mirror._copy

    def copy(self, name, path, size):
        copied.append(name)
        real(self, name, path, size)

    monkeypatch.setattr(Mirror, "_copy", copy)

    def read(_):
        shards = LabShards(here, through(there, tmp_path))
        return [item["id"] for item in shards]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(read, range(4)))
    assert results == [[str(number) for number in range(IMAGES)]] * 4
    assert sorted(copied) == sorted(set(copied))


def test_readers_of_a_tiny_cache_take_nothing_from_each_other(there, here, tmp_path):
    def read(seed):
        shards = LabShards(here, through(there, tmp_path, limit=0))
        order = np.random.default_rng(seed).permutation(IMAGES)
        return [shards[position]["id"] for position in order] == [str(p) for p in order]

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(read, range(3)))


def test_over_http(there, here, tmp_path):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(there))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        shards = LabShards(here, through(there, tmp_path, address=address))
        assert [item["id"] for item in shards] == [str(number) for number in range(IMAGES)]
        server.shutdown()


class TestFaults:
    def fails(self, shards, error, *patterns):
        with pytest.raises(error) as caught:
            shards[0]
        for pattern in patterns:
            assert pattern in str(caught.value)

    @pytest.mark.parametrize("address", ["s3:bucket", "/data/lab", "ftp://host/lab", "lab"])
    def test_no_address(self, address, tmp_path):
        with pytest.raises(SettingsError, match=r"runtime\.mirror"):
            Mirror(address, tmp_path, 1)

    def test_missing_there(self, there, here, tmp_path):
        sorted((there / "train").glob("*.bin"))[0].unlink()
        self.fails(LabShards(here, through(there, tmp_path)), DataError, "there holds no train/")

    def test_cut_short_there(self, there, here, tmp_path):
        victim = sorted((there / "train").glob("*.bin"))[0]
        victim.write_bytes(victim.read_bytes()[:-1])
        shards = LabShards(here, through(there, tmp_path))
        self.fails(shards, DataError, victim.name, "another length")
        assert not cached(tmp_path)

    def test_no_answer_is_asked_again_and_tells_no_secret(self, there, here, tmp_path, monkeypatch):
        tries = []

        def copy(self, name, path, size):
            tries.append(name)
            if len(tries) < 6:
                raise TimeoutError("https://me:secret@host/lab?key=secret")
            shutil.copy(there / name, path)

        (tmp_path / "cache" / "train").mkdir(parents=True)
        monkeypatch.setattr(Mirror, "_copy", copy)
        address = "https://me:secret@host/lab?key=secret"
        shards = LabShards(here, through(there, tmp_path, address=address))
        with pytest.raises(ServerError, match="https://host/lab does not give") as caught:
            shards[0]
        assert "secret" not in str(caught.value)
        assert len(tries) == 3
        assert shards[0]["id"] == "0"

    def test_a_package_that_is_missing_is_named(self, there, here, tmp_path, monkeypatch):
        def copy(self, name, path, size):
            raise ImportError("Install s3fs to access S3")

        monkeypatch.setattr(Mirror, "_copy", copy)
        shards = LabShards(here, through(there, tmp_path, address="s3://bucket/lab"))
        self.fails(shards, DataError, "pip install s3fs")

    def test_full_disk(self, there, here, tmp_path, monkeypatch):
        def fsync(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("chromaflow.files.os.fsync", fsync)
        shards = LabShards(here, through(there, tmp_path))
        self.fails(shards, UserError, "No space left", "runtime.mirror_cache")
        assert not cached(tmp_path)
