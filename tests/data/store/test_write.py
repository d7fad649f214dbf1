import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Never

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import color

from chromaflow import settings as settings_file
from chromaflow.data.store import statistics, write
from chromaflow.data.store.decode import photograph_to_lab
from chromaflow.data.store.read import LabShards, read_split
from chromaflow.data.store.write import write_store
from chromaflow.errors import DataError, ServerError
from chromaflow.project.files import digest_of_folder
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.data.store.conftest import Accept, Snapshot


def chunk_files(project: Project) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in project.lab.rglob("*.bin")}


def read_everything(
    project: Project, splits: tuple[str, ...] = ("train", "validation", "test")
) -> dict[str, list[tuple[str, NDArray[np.uint8]]]]:
    return {split: list(read_split(project.lab / split)) for split in splits}


def some(snapshot: Snapshot, shards: int) -> Snapshot:
    return dict(list(snapshot.items())[:shards])


def test_every_photograph_is_stored_once_in_its_split(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(snapshot)
    write_store(project, small)
    accepted = [row for rows in snapshot.values() for row in rows]
    for split, stored in read_everything(project).items():
        expected = {row.id: row.data for row in accepted if row.split == split}
        assert sorted(expected) == sorted(identifier for identifier, _ in stored)
        for identifier, lab in stored:
            assert np.array_equal(lab, photograph_to_lab(expected[identifier], 48, 10**8))
            assert min(lab.shape[:2]) == 48


def test_order_is_raw_shard_then_id(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    write_store(project, small)
    expected = [
        identifier
        for shard in sorted(snapshot)
        for identifier in sorted(row.id for row in snapshot[shard] if row.split == "train")
    ]
    assert [identifier for identifier, _ in read_split(project.lab / "train")] == expected


def test_statistics_are_those_of_the_pixels(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(snapshot)
    summary = write_store(project, small)
    assert summary.decoded == 21
    written = json.loads((project.lab / "statistics.json").read_text())
    assert written | {"decoded": 21} == asdict(summary)
    assert summary.images == {"train": 15, "validation": 3, "test": 3}
    assert summary.size == 48
    pixels = np.concatenate([lab.reshape(-1, 3) for _, lab in read_split(project.lab / "train")])
    histogram = np.load(project.lab / "ab_histogram.npy", allow_pickle=False)
    expected = np.zeros((256, 256), np.int64)
    np.add.at(expected, (pixels[:, 1], pixels[:, 2]), 1)
    assert histogram.dtype == np.int64
    assert np.array_equal(histogram, expected)
    ab = pixels[:, 1:].astype(np.float64) - 128
    assert summary.pixels == len(pixels)
    assert summary.mean_ab == pytest.approx(ab.mean(axis=0).tolist(), abs=1e-5)
    assert summary.mean_chroma == pytest.approx(np.hypot(*ab.T).mean(), abs=1e-5)


def test_mean_color_agrees_with_scikit_image(accept: Accept, snapshot: Snapshot) -> None:
    project = accept(snapshot)
    settings = Settings.model_validate({"preprocess": {"size": 90}})
    summary = write_store(project, settings)
    colors = []
    for path in sorted((project.raw / "sample").iterdir()):
        with tarfile.open(path) as archive:
            for row in snapshot[f"sample/{path.name}"]:
                if row.split == "train":
                    file = archive.extractfile(f"{row.id}.jpg")
                    assert file is not None
                    colors.append(color.rgb2lab(np.asarray(Image.open(file)))[..., 1:])
    expected = np.mean(colors, axis=(0, 1, 2))
    assert summary.mean_ab == pytest.approx(expected.tolist(), abs=0.05)


def test_small_chunks_hold_the_same_images(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(snapshot)
    write_store(project, small)
    index = json.loads((project.lab / "train" / "index.json").read_text())
    assert len(index["chunks"]) > len(snapshot)
    assert all(chunk["chunk_bytes"] <= 24 * 1024 for chunk in index["chunks"])
    few = read_everything(project)
    large = small.model_copy(
        update={"preprocess": Settings().preprocess.model_copy(update={"size": 48})}
    )
    write_store(project, large)
    assert len(list((project.lab / "train").glob("*.bin"))) == len(snapshot)
    for split, images in read_everything(project).items():
        for (one, lab), (other, same) in zip(few[split], images, strict=True):
            assert one == other
            assert np.array_equal(lab, same)


def test_nothing_tells_when_or_where(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    write_store(project, small)
    index = json.loads((project.lab / "train" / "index.json").read_text())
    assert sorted(index) == ["chunks", "config"]
    assert index["config"]["data_format"] == ["str", "numpy"]
    names = {path.name for path in project.lab.iterdir()}
    assert names == {"train", "validation", "test", "statistics.json", "ab_histogram.npy"}
    for path in project.lab.rglob("*"):
        if path.is_file():
            assert str(project.root).encode() not in path.read_bytes()


def test_many_pixels_are_looked_up_and_give_the_same_bytes(
    accept: Accept,
    snapshot: Snapshot,
    small: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = accept(snapshot)
    write_store(project, small)
    expected = digest_of_folder(project.lab)
    project.lab.rename(tmp_path / "other")
    monkeypatch.setattr(write, "_WORTH_A_TABLE", 0)
    write_store(project, small)
    assert digest_of_folder(project.lab) == expected


def test_what_is_kept_is_not_counted_again(
    accept: Accept, snapshot: Snapshot, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = accept(some(snapshot, 2))
    write_store(project, small)
    accept(snapshot)
    counted, real = [], statistics.ColorCount.add

    def add(self: statistics.ColorCount, lab: NDArray[np.uint8]) -> None:
        counted.append(lab)
        real(self, lab)

    monkeypatch.setattr(statistics.ColorCount, "add", add)
    write_store(project, small)
    assert len(counted) == 7


@pytest.mark.parametrize("kind", ["*.npy", "*[0-9a-f].json"])
@pytest.mark.parametrize("content", [None, b"", b"no array", b"\x93NUMPY", b"[]", b"[{}]", b"3"])
def test_a_group_without_its_colors_or_its_list_is_made_anew(
    kind: str, content: bytes | None, accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(snapshot)
    write_store(project, small)
    expected = digest_of_folder(project.lab)
    victim = sorted((project.lab / "validation").glob(kind))[0]
    victim.unlink()
    if content is not None:
        victim.write_bytes(content)
    assert write_store(project, small).decoded == 1
    assert digest_of_folder(project.lab) == expected


def test_again_decodes_nothing_and_changes_nothing(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(snapshot)
    assert write_store(project, small).decoded == 21
    before, files = digest_of_folder(project.lab), chunk_files(project)
    assert write_store(project, small).decoded == 0
    assert digest_of_folder(project.lab) == before
    assert chunk_files(project) == files


@pytest.mark.parametrize("change", ["add", "remove", "move", "size", "damage", "litter"])
def test_what_stood_there_does_not_show(
    change: str, accept: Accept, snapshot: Snapshot, small: Settings, tmp_path: Path
) -> None:
    """From whatever state, the result has the bytes of a run from nothing."""
    first = snapshot if change == "remove" else some(snapshot, 2)
    last = some(snapshot, 2) if change == "remove" else snapshot
    if change == "move":
        shard, rows = next(iter(first.items()))
        first = {**first, shard: [rows[0]._replace(split="test"), *rows[1:]]}
    project = accept(last)
    write_store(project, small)
    fresh = digest_of_folder(project.lab)
    project.lab.rename(tmp_path / "fresh")

    accept(first)
    before = Settings.model_validate({"preprocess": {"size": 32}}) if change == "size" else small
    write_store(project, before)
    kept = chunk_files(project)
    if change == "damage":
        victim = sorted((project.lab / "train").glob("*.bin"))[1]
        os.truncate(victim, victim.stat().st_size - 1)
        (project.lab / "validation" / "index.json").unlink()
    if change == "litter":
        (project.lab / "train" / ".partial").mkdir()
        (project.lab / "train" / ".partial" / "chunk-0-0.bin").write_bytes(b"half")
        (project.lab / "notes.txt").write_text("mine")
    accept(last)
    decoded = write_store(project, small).decoded
    assert digest_of_folder(project.lab) == fresh
    assert decoded == {"add": 7, "remove": 0, "move": 13, "size": 21, "litter": 7}.get(
        change, decoded
    )
    if change == "add":
        assert kept.items() <= chunk_files(project).items()


def test_one_at_a_time(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    with project.lock("preprocess"), pytest.raises(ServerError, match="another preprocess"):
        write_store(project, small)


def test_a_killed_run_goes_on_and_leaves_no_trace(
    accept: Accept, snapshot: Snapshot, small: Settings, tmp_path: Path
) -> None:
    project = accept(snapshot)
    write_store(project, small)
    expected = digest_of_folder(project.lab)
    project.lab.rename(tmp_path / "whole")
    settings_file.save(project, small)
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from chromaflow import settings\n"
        "from chromaflow.project.paths import Project\n"
        "from chromaflow.data.store.write import write_store\n"
        "real = Path.replace\n"
        "def replace(temporary, path):\n"
        "    if path.parent.name == 'train' and list(path.parent.glob('*.bin')):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(temporary, path)\n"
        "Path.replace = replace\n"
        "project = Project(Path(sys.argv[1]))\n"
        "write_store(project, settings.load(project))\n"
    )
    # The second chunk to train on is written and not yet named.
    arguments = [sys.executable, "-c", program, str(project.root)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert any(path.name.endswith(".partial") for path in (project.lab / "train").iterdir())
    summary = write_store(project, small)
    assert 0 < summary.decoded < 21
    assert digest_of_folder(project.lab) == expected


def test_an_interrupt_leaves_what_stood_readable(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(some(snapshot, 2))
    write_store(project, small)
    before = read_everything(project)
    accept(snapshot)

    @contextmanager
    def progress(*_: object) -> Iterator[Callable[[int], None]]:
        def advance(count: int) -> Never:
            raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        write_store(project, small, progress)
    after = read_everything(project)
    assert [name for name, _ in after["train"]] == [name for name, _ in before["train"]]
    assert not list(project.lab.rglob("*.partial"))


def test_hard_links_of_a_cache_are_never_written_to(
    accept: Accept, snapshot: Snapshot, small: Settings, tmp_path: Path
) -> None:
    project = accept(some(snapshot, 2))
    write_store(project, small)
    cache = tmp_path / "cache"
    cache.mkdir()
    for number, path in enumerate(p for p in project.lab.rglob("*") if p.is_file()):
        os.link(path, cache / str(number))
        path.chmod(0o444)
    expected = digest_of_folder(cache)
    accept(snapshot)
    write_store(project, Settings.model_validate({"preprocess": {"size": 32}}))
    assert digest_of_folder(cache) == expected


def test_an_id_may_be_the_name_of_a_file(
    accept: Accept, snapshot: Snapshot, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, rows = next(iter(snapshot.items()))
    project = accept({shard: [rows[0]._replace(id="params")]})
    (project.root / "params").write_text("not to be stored")
    monkeypatch.chdir(project.root)
    write_store(project, small)
    assert [name for name, _ in read_split(project.lab / "train")] == ["params"]


def test_a_split_may_be_empty_but_not_train(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    shard, rows = next(iter(snapshot.items()))
    project = accept({shard: [row._replace(split="train") for row in rows]})
    assert write_store(project, small).images == {"train": 7, "validation": 0, "test": 0}
    with pytest.raises(DataError, match="validation is empty"):
        read_split(project.lab / "validation")
    accept({shard: [row._replace(split="test") for row in rows]})
    with pytest.raises(DataError, match="no photograph to train on"):
        write_store(project, small)
    assert len(list(read_split(project.lab / "train"))) == 7


def test_progress_counts_what_is_decoded(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(some(snapshot, 2))
    write_store(project, small)
    accept(snapshot)
    calls: list[object] = []

    @contextmanager
    def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        calls.append((description, total))
        yield calls.append

    write_store(project, small, progress)
    assert calls == [("Preprocessing", 7), 1, 5, 1]


def test_random_access_reads_what_was_written(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(snapshot)
    write_store(project, small)
    shards = LabShards(project.lab / "train")
    ids = [identifier for identifier, _ in read_split(project.lab / "train")]
    assert [shards[position]["id"] for position in (14, 0, 7)] == [ids[14], ids[0], ids[7]]
