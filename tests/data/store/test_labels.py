"""What is on the images: written beside the shards, read without what wrote them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chromaflow.data.store import chunks
from chromaflow.data.store.mirror import Mirror
from chromaflow.data.store.read import LabItem, LabShards, read_labels, read_split
from chromaflow.data.store.write import write_store
from chromaflow.errors import DataError
from chromaflow.project.files import digest_of_folder
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.data.store.conftest import Accept, Snapshot
from tests.support.lab_items import items_of

KINDS = ("coast", "mountain", None, "coast", "", "Küste, offen")
SPLITS = ("train", "validation", "test")


@pytest.fixture
def labeled(snapshot: Snapshot) -> Snapshot:
    """The snapshot with labels; one of them stands in no training image."""
    numbers = iter(range(100))
    return {
        shard: [
            row._replace(label="only here" if row.split == "test" else KINDS[next(numbers) % 6])
            for row in rows
        ]
        for shard, rows in snapshot.items()
    }


def told(project: Project, split: str) -> dict[str, str | None]:
    """Label by id, as the shards and their labels tell it."""
    labels = read_labels(project.lab / split)
    ids = [identifier for identifier, _ in read_split(project.lab / split)]
    assert len(ids) == len(labels.numbers)
    names = [*labels.names, None]
    return {name: names[number] for name, number in zip(ids, labels.numbers, strict=True)}


def test_each_image_has_its_own_label(accept: Accept, labeled: Snapshot, small: Settings) -> None:
    project = accept(labeled)
    write_store(project, small)
    rows = [row for rows in labeled.values() for row in rows]
    known = {row.label for row in rows if row.split == "train" and row.label}
    assert len(known) == 3
    for split in SPLITS:
        expected = {
            row.id: row.label if row.label in known else None for row in rows if row.split == split
        }
        assert told(project, split) == expected
        labels = read_labels(project.lab / split)
        assert labels.names == sorted(known)
        assert labels.numbers.dtype == np.int32
    assert set(told(project, "test").values()) == {None}


def test_images_without_labels(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    write_store(project, small)
    labels = read_labels(project.lab / "train")
    assert labels.names == []
    assert labels.numbers.tolist() == [-1] * 15


def test_again_gives_the_same_bytes(accept: Accept, labeled: Snapshot, small: Settings) -> None:
    project = accept(labeled)
    write_store(project, small)
    before = digest_of_folder(project.lab)
    assert write_store(project, small).decoded == 0
    assert digest_of_folder(project.lab) == before
    (project.lab / "train" / "labels.json").write_text("[]")
    assert write_store(project, small).decoded == 0
    assert digest_of_folder(project.lab) == before


def test_another_label_makes_no_photograph_anew(
    accept: Accept, labeled: Snapshot, small: Settings
) -> None:
    project = accept(labeled)
    write_store(project, small)
    before = {p: p.read_bytes() for p in project.lab.rglob("*") if p.is_file()}
    shard, rows = next(iter(labeled.items()))
    accept({**labeled, shard: [rows[0]._replace(label="forest"), *rows[1:]]})
    assert write_store(project, small).decoded == 0
    after = {p: p.read_bytes() for p in project.lab.rglob("*") if p.is_file()}
    assert before.keys() == after.keys()
    changed = {path.name for path in before if before[path] != after[path]}
    assert changed == {"labels.json"}
    assert told(project, "train")[rows[0].id] == "forest"


def test_more_images_keep_the_labels_of_the_others(
    accept: Accept, labeled: Snapshot, small: Settings
) -> None:
    few = dict(list(labeled.items())[:2])
    project = accept(few)
    write_store(project, small)
    first = told(project, "train")
    accept(labeled)
    assert write_store(project, small).decoded == 7
    assert first.items() <= told(project, "train").items()


def write(folder: Path, images: int, names: list[str], numbers: list[int]) -> None:
    items = [LabItem(id=str(n), lab=np.zeros((32, 32, 3), np.uint8)) for n in range(images)]
    chunks.write_index(folder, chunks.write(folder, "group", 2**20, items), 2**20)
    chunks.write_labels(folder, names, numbers)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True).flatmap(
        lambda names: st.tuples(
            st.just(names), st.lists(st.integers(-1, len(names) - 1), min_size=3, max_size=3)
        )
    )
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[list[str], list[int]]
) -> None:
    names, numbers = case
    folder = tmp_path_factory.getbasetemp() / "labels"
    if not folder.exists():
        write(folder, 3, [], [-1] * 3)
    chunks.write_labels(folder, names, numbers)
    labels = read_labels(folder)
    assert labels.names == names
    assert labels.numbers.tolist() == numbers


def test_a_split_may_be_empty(tmp_path: Path) -> None:
    write(tmp_path, 0, ["coast"], [])
    assert read_labels(tmp_path).numbers.shape == (0,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images with their labels."""
    write(tmp_path / "lab" / "train", 3, ["coast", "forest"], [1, -1, 0])
    return tmp_path / "lab" / "train"


def test_labels_that_are_missing_are_told(folder: Path) -> None:
    (folder / "labels.json").unlink()
    with pytest.raises(DataError, match=r"labels\.json is missing(.|\n)*chromaflow preprocess"):
        read_labels(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"\xff", b"null", b'{"names": ["coast"]}', b'{"names": 3}']
    + [b'{"index": "", "names": [], "labels": %s}' % labels for labels in (b'["x"]', b"[1e99]")]
    + [b'{"index": "", "names": [], "labels": [99999999999]}', b'{"names": [], "labels": [[]]}'],
)
def test_labels_that_are_broken_are_told(folder: Path, content: bytes) -> None:
    (folder / "labels.json").write_bytes(content)
    with pytest.raises(DataError, match=r"labels\.json(.|\n)*chromaflow preprocess"):
        read_labels(folder)


@pytest.mark.parametrize("change", [{"labels": [0, 1]}, {"labels": [0, 1, 2]}, {"index": "0" * 64}])
def test_labels_of_other_shards_are_never_taken(
    folder: Path, change: dict[str, list[int] | str]
) -> None:
    path = folder / "labels.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match="of other shards"):
        read_labels(folder)


def test_labels_of_shards_that_changed_since_are_never_taken(folder: Path) -> None:
    index = folder / "index.json"
    index.write_text(index.read_text() + " ")
    with pytest.raises(DataError, match="of other shards"):
        read_labels(folder)


def test_they_lie_with_the_index_where_the_shards_come_from_a_mirror(
    folder: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here" / "train"
    shutil.copytree(folder, here, ignore=shutil.ignore_patterns("*.bin"))
    shards = LabShards(here, Mirror(folder.parent.as_uri(), tmp_path / "cache", 2**20))
    assert [item["id"] for item in items_of(shards)] == ["0", "1", "2"]
    assert read_labels(here).numbers.tolist() == [1, -1, 0]


def test_reading_needs_no_pyarrow() -> None:
    program = "import sys, chromaflow.data.store.read; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
