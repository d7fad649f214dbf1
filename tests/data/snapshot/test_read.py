import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest

from chromaflow.data.snapshot.read import common_address, counts, photographs, read_snapshot
from chromaflow.errors import DataError
from chromaflow.project import files
from chromaflow.project.paths import Project
from tests.support.description import Tables


def test_what_is_on_disk_is_read(checkout: Project, rows: Tables) -> None:
    snapshot = read_snapshot(checkout)
    accepted, refused = rows
    assert snapshot.accepted["id"].to_pylist() == sorted(entry["id"] for entry in accepted)
    assert len(snapshot.refused) == len(refused)
    assert sorted(snapshot.shards) == ["sample/000000.tar", "sample/000001.tar"]
    for name, shard in snapshot.shards.items():
        content = (checkout.raw / name).read_bytes()
        assert (shard.size, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    manifest = (checkout.validated / "manifest.parquet").read_bytes()
    assert snapshot.digest == hashlib.sha256(manifest).hexdigest()
    assert photographs(snapshot.accepted) == 2
    assert counts(snapshot.refused, "license") == [("", 1), ("CC0 (somebody)", 1)]


def test_a_shard_is_hashed_once_and_again_when_it_changed(
    checkout: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_snapshot(checkout)
    hashed: list[str] = []
    real = files.sha256_of

    def spy(path: Path) -> str:
        hashed.append(path.name)
        return real(path)

    monkeypatch.setattr(files, "sha256_of", spy)
    read_snapshot(checkout)
    assert not [name for name in hashed if name.endswith(".tar")]
    shard = checkout.raw / "sample/000001.tar"
    shard.write_bytes(shard.read_bytes() + bytes(512))
    found = read_snapshot(checkout).shards["sample/000001.tar"]
    assert [name for name in hashed if name.endswith(".tar")] == ["000001.tar"]
    assert found.sha256 == real(shard)
    (checkout.state / "shards.sha256.json").write_text('["broken"')
    assert read_snapshot(checkout).shards["sample/000001.tar"] == found


@pytest.mark.parametrize("kept", ['{"sample/000000.tar": 3}', "[]", '{"sample/000000.tar": []}'])
def test_a_damaged_memory_of_hashes_costs_only_time(checkout: Project, kept: str) -> None:
    expected = read_snapshot(checkout).shards
    (checkout.state / "shards.sha256.json").write_text(kept)
    assert read_snapshot(checkout).shards == expected


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("data/validated/manifest.parquet", "chromaflow validate"),
        ("data/validated/quarantine.parquet", "chromaflow validate"),
        ("data/validated/validation.json", "chromaflow validate"),
        ("data/raw/manifest.parquet", "chromaflow ingest"),
        ("data/raw/sample/000001.tar", "dvc checkout data.dvc --force"),
    ],
)
def test_what_is_missing_is_named(checkout: Project, name: str, remedy: str) -> None:
    (checkout.root / name).unlink()
    with pytest.raises(DataError, match=name) as caught:
        read_snapshot(checkout)
    assert caught.value.remedy == remedy


def test_what_is_broken_is_named(checkout: Project) -> None:
    (checkout.validated / "validation.json").write_text(json.dumps({"rows": 3}))
    with pytest.raises(DataError, match=r"validation\.json"):
        read_snapshot(checkout)
    (checkout.validated / "quarantine.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"quarantine\.parquet"):
        read_snapshot(checkout)
    from tests.support.description import write_tables

    write_tables(checkout, [], [])
    with pytest.raises(DataError, match="holds no image"):
        read_snapshot(checkout)


def test_a_shard_that_leads_out_is_refused(checkout: Project, rows: Tables) -> None:
    from tests.support.description import write_tables

    accepted, refused = rows
    write_tables(checkout, [{**accepted[0], "shard": "../outside.tar"}], refused)
    with pytest.raises(DataError, match="outside"):
        read_snapshot(checkout)


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["skimage:cat.png#1", "skimage:coffee.png"], "skimage:"),
        (["https://a.org/x/1.jpg", "https://a.org/x/2.jpg"], "https://a.org/x/"),
        (["https://a.org/x/1.jpg?key=secret/1"], "https://a.org/x/"),
        (["https://me:secret@a.org/1.jpg", "https://you:secret@a.org/2.jpg"], "https://a.org/"),
        (["https://a.org/1.jpg", "https://b.org/1.jpg"], ""),
        (["folder:1.jpg", "https://b.org/1.jpg"], ""),
        ([], ""),
    ],
)
def test_the_address_that_all_urls_share(urls: list[str], expected: str) -> None:
    assert common_address(pa.table({"url": pa.array(urls, pa.string())})) == expected
