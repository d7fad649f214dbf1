import errno
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chromaflow.data.store.write import write_store
from chromaflow.errors import DataError, SettingsError, UserError
from chromaflow.project.files import digest_of_folder
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.data.store.conftest import Accept, Snapshot


def fails(project: Project, settings: Settings, error: type[Exception], *patterns: str) -> None:
    with pytest.raises(error) as caught:
        write_store(project, settings)
    for pattern in patterns:
        assert pattern in str(caught.value)


def test_no_manifest(project: Project, small: Settings) -> None:
    fails(project, small, DataError, "there is no", "manifest.parquet", "chromaflow validate")


def test_broken_manifest(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    (project.validated / "manifest.parquet").write_bytes(b"PAR1 no table PAR1")
    fails(project, small, DataError, "cannot be read", "chromaflow validate")


def test_manifest_without_splits(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    path = project.validated / "manifest.parquet"
    pq.write_table(pq.read_table(path).drop_columns("split"), path)
    fails(project, small, DataError, "lacks the columns split", "chromaflow validate")


def test_manifest_without_labels(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    path = project.validated / "manifest.parquet"
    pq.write_table(pq.read_table(path).drop_columns("label"), path)
    fails(project, small, DataError, "lacks the columns label", "chromaflow validate")


@pytest.mark.parametrize(
    ("shard", "split"),
    [("../secret.tar", "train"), ("/etc/secret.tar", "train"), ("sample/000000.tar", "dev")],
)
def test_hostile_manifest(
    shard: str, split: str, accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(snapshot)
    path = project.validated / "manifest.parquet"
    row = {"id": "1", "key": "1", "sha256": "0" * 64, "split": split, "shard": shard, "label": ""}
    rows = [row, {**row, "split": "train", "shard": "sample/000000.tar"}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    fails(project, small, DataError, repr(split), repr(shard))


def test_missing_shard(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    (project.raw / "sample" / "000001.tar").unlink()
    fails(project, small, DataError, "000001.tar is missing", "dvc checkout data.dvc")


@pytest.mark.parametrize("content", [b"", b"no tar", b"\x1f\x8b" + bytes(1000)])
def test_shard_that_is_no_archive(
    content: bytes, accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(snapshot)
    (project.raw / "sample" / "000001.tar").write_bytes(content)
    fails(project, small, DataError, "000001.tar", "dvc checkout data.dvc")


def test_shard_cut_short(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    path = project.raw / "sample" / "000001.tar"
    os.truncate(path, path.stat().st_size // 2)
    fails(project, small, DataError, "000001.tar", "dvc checkout data.dvc")


def test_missing_member(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    shard, rows = next(iter(snapshot.items()))
    manifest = (project.validated / "manifest.parquet").read_bytes()
    accept({shard: rows[1:]})
    (project.validated / "manifest.parquet").write_bytes(manifest)
    fails(project, small, DataError, f"{shard} holds no {rows[0].id}", "dvc checkout")


def test_links_are_not_followed(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    shard, rows = next(iter(snapshot.items()))
    with tarfile.open(project.raw / shard, "w") as archive:
        header = tarfile.TarInfo(f"{rows[0].id}.jpg")
        header.type, header.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(header)
    fails(project, small, DataError, f"{shard} holds no")


def test_other_bytes_than_the_manifest_says(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    project = accept(snapshot)
    shard, rows = next(iter(snapshot.items()))
    manifest = (project.validated / "manifest.parquet").read_bytes()
    accept({shard: [rows[0]._replace(data=rows[1].data), *rows[1:]]})
    (project.validated / "manifest.parquet").write_bytes(manifest)
    fails(project, small, DataError, rows[0].id, shard, "SHA-256", "dvc checkout")


def test_photograph_that_does_not_decode(
    accept: Accept, snapshot: Snapshot, small: Settings
) -> None:
    shard, rows = next(iter(snapshot.items()))
    project = accept({shard: [rows[0]._replace(data=b"GIF89a"), *rows[1:]]})
    fails(project, small, DataError, rows[0].id, shard, "cannot be decoded", "validate")


def test_photograph_that_is_too_large(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    source = small.source.model_copy(update={"max_pixels": 90 * 120 - 1})
    settings = small.model_copy(update={"source": source})
    fails(project, settings, DataError, "120×90", "source.max_pixels")


def test_chunks_beyond_32_bits(project: Project) -> None:
    settings = Settings.model_validate({"preprocess": {"shard_size": "4GiB"}})
    fails(project, settings, SettingsError, "preprocess.shard_size", "4GiB")


def test_full_disk(
    accept: Accept,
    snapshot: Snapshot,
    small: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = accept(snapshot)
    write_store(project, small)
    expected = digest_of_folder(project.lab)
    project.lab.rename(tmp_path / "whole")
    real, left = os.fsync, [5]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        fails(project, small, UserError, "disk is full", "chromaflow preprocess")
    assert not list(project.lab.rglob("*.partial"))
    assert 0 < write_store(project, small).decoded < 21
    assert digest_of_folder(project.lab) == expected


def test_folder_that_cannot_be_written(accept: Accept, snapshot: Snapshot, small: Settings) -> None:
    project = accept(snapshot)
    project.lab.write_text("a file where a folder should be")
    fails(project, small, UserError, str(project.lab), "cannot be written")
