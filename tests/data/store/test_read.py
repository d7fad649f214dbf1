import json
import multiprocessing
import pickle
import struct
import threading
from collections.abc import Iterable
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from litdata import StreamingDataset
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Subset

from chromaflow.data.store import chunks
from chromaflow.data.store.read import LabItem, LabShards, read_split
from chromaflow.errors import DataError
from tests.support.lab_items import items_of

IMAGES = 23


def lab_of(number: int) -> NDArray[np.uint8]:
    shape = (32 + number % 3, 40 + number % 5, 3)
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def name_of(number: int) -> str:
    return f"photograph {number} é"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Three groups of photographs in several chunks each."""
    folder = tmp_path / "train"
    found = []
    for group, numbers in enumerate(np.array_split(np.arange(IMAGES), 3)):
        items = [LabItem(id=name_of(n), lab=lab_of(n)) for n in numbers]
        found += chunks.write(folder, f"group{group}", 20_000, items)
    chunks.write_index(folder, found, 20_000)
    assert len(found) == 6
    return folder


@pytest.fixture(scope="module")
def workers() -> BaseContext:
    """A way to start workers that forks from a clean server, which imports only once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chromaflow.data.store.read"])
    return context


def ids_only(items: Iterable[LabItem]) -> list[str]:
    return [item["id"] for item in items]


def test_stored_order(split: Path) -> None:
    stored = list(read_split(split))
    assert [name for name, _ in stored] == [name_of(number) for number in range(IMAGES)]
    for number, (_, lab) in enumerate(stored):
        assert lab.dtype == np.uint8
        assert np.array_equal(lab, lab_of(number))


def test_random_access_does_not_depend_on_what_was_read(split: Path) -> None:
    shards = LabShards(split)
    assert len(shards) == IMAGES
    for position in np.random.default_rng(0).integers(0, IMAGES, 100):
        item = shards[position]
        assert item["id"] == name_of(position)
        assert np.array_equal(item["lab"], lab_of(position))


def test_what_is_stored_cannot_be_written_to(split: Path) -> None:
    item = LabShards(split)[3]
    with pytest.raises(ValueError, match="read-only"):
        item["lab"][:] = 0


@pytest.mark.parametrize("position", [-1, IMAGES, 10**9])
def test_no_such_image(split: Path, position: int) -> None:
    with pytest.raises(IndexError):
        LabShards(split)[position]


def test_litdata_reads_the_same(split: Path) -> None:
    shards = LabShards(split)
    streamed = list(StreamingDataset(str(split), batch_decode=0))
    assert [item["id"] for item in streamed] == [item["id"] for item in items_of(shards)]
    for item, other in zip(streamed, items_of(shards), strict=True):
        assert np.array_equal(item["lab"], other["lab"])
    mixed = ids_only(StreamingDataset(str(split), shuffle=True, batch_decode=0))
    assert mixed != sorted(mixed) == sorted(name_of(number) for number in range(IMAGES))


def test_every_rank_reads_a_whole_split(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("GLOBAL_RANK", "1")
    assert len(list(read_split(split))) == len(LabShards(split)) == IMAGES


def test_workers_read_by_index(split: Path, workers: BaseContext) -> None:
    shards = LabShards(split)
    shards[0]
    loader: DataLoader[LabItem] = DataLoader(
        Subset(cast("Dataset[LabItem]", shards), [22, 0, 13, 5]),
        batch_size=2,
        num_workers=2,
        collate_fn=ids_only,
        multiprocessing_context=workers,
    )
    assert list(loader) == [[name_of(22), name_of(0)], [name_of(13), name_of(5)]]


def test_a_dataset_that_was_read_can_be_sent_to_a_worker(split: Path) -> None:
    shards = LabShards(split)
    shards[5]
    assert pickle.loads(pickle.dumps(shards))[9]["id"] == name_of(9)  # noqa: S301


def test_reading_leaves_no_trace(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    before = sorted((path, path.stat().st_mtime_ns) for path in split.rglob("*"))
    threads = threading.active_count()
    assert len(items_of(LabShards(split))) == IMAGES
    assert sorted((path, path.stat().st_mtime_ns) for path in split.rglob("*")) == before
    assert not list(home.iterdir())
    assert threading.active_count() == threads


class TestFaults:
    def refuses(self, folder: Path, *patterns: str) -> None:
        for use in (LabShards, read_split):
            with pytest.raises(DataError) as caught:
                use(folder)
            for pattern in (*patterns, "chromaflow preprocess"):
                assert pattern in str(caught.value)

    def change(self, split: Path, **config: object) -> None:
        path = split / "index.json"
        index = json.loads(path.read_text())
        index["config"] |= config
        path.write_text(json.dumps(index))

    def test_missing(self, tmp_path: Path) -> None:
        self.refuses(tmp_path / "nowhere", "nowhere holds no Lab shards")

    def test_without_index(self, split: Path) -> None:
        (split / "index.json").unlink()
        self.refuses(split, "no index.json")

    def test_empty(self, split: Path) -> None:
        chunks.write_index(split, [], 20_000)
        self.refuses(split, "is empty")

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"chunks": 3, "config": {}}', "\x00"])
    def test_broken_index(self, split: Path, text: str) -> None:
        (split / "index.json").write_text(text)
        self.refuses(split, "index.json cannot be read")

    @pytest.mark.parametrize(
        "config",
        [
            {"data_format": ["str", "pickle"]},
            {"data_format": ["pickle", "numpy"]},
            {"item_loader": "TokensLoader"},
            {"compression": "zstd"},
            {"encryption": {"algorithm": "fernet"}},
        ],
    )
    def test_foreign_format(self, split: Path, config: dict[str, object]) -> None:
        self.change(split, **config)
        self.refuses(split, "does not describe Lab shards")

    def test_chunk_outside_the_folder(self, split: Path) -> None:
        index = json.loads((split / "index.json").read_text())
        index["chunks"][0]["filename"] = "../../secret.bin"
        (split / "index.json").write_text(json.dumps(index))
        self.refuses(split, "does not describe Lab shards")
        index["chunks"][0]["filename"] = ".."
        (split / "index.json").write_text(json.dumps(index))
        self.refuses(split, "does not describe Lab shards")

    def test_missing_chunk(self, split: Path) -> None:
        victim = sorted(split.glob("*.bin"))[2]
        victim.unlink()
        self.refuses(split, str(victim), "missing or truncated")

    def test_chunk_cut_short(self, split: Path) -> None:
        victim = sorted(split.glob("*.bin"))[2]
        victim.write_bytes(victim.read_bytes()[:-1])
        self.refuses(split, str(victim), "missing or truncated")

    @pytest.mark.parametrize("place", [0, 4, 8, 40, 44, 60, 70])
    @pytest.mark.parametrize("value", [0, 5, 2**32 - 1])
    def test_chunk_that_lies_about_itself(self, split: Path, place: int, value: int) -> None:
        victim = sorted(split.glob("*.bin"))[0]
        content = bytearray(victim.read_bytes())
        content[place : place + 4] = struct.pack("<I", value)
        victim.write_bytes(content)
        try:
            found = [item["lab"] for item in items_of(LabShards(split))]
        except DataError as error:
            assert victim.name in str(error)
        else:
            assert all(lab.nbytes < len(content) for lab in found)

    def test_chunk_that_went_away(self, split: Path) -> None:
        shards = LabShards(split)
        victim = sorted(split.glob("*.bin"))[0]
        victim.unlink()
        with pytest.raises(DataError, match=victim.name):
            shards[0]

    def test_few_files_stay_open(self, split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("chromaflow.data.store.read._OPEN_CHUNKS", 2)
        shards = LabShards(split)
        assert ids_only(items_of(shards)) == [name_of(number) for number in range(IMAGES)]
        assert shards._open.cache_info().currsize == 2
