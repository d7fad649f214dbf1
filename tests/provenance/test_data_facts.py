from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.provenance.data_facts import data_counts, data_facts
from chromaflow.provenance.facts import DataCounts, DataFacts
from tests.support.manifests import report


def write_manifest(project: Project, rows: dict[str, list[str | None]]) -> None:
    """Write the table of accepted images, with dictionaries as `chromaflow validate` does."""
    columns = {name: pa.array(values, pa.string()) for name, values in rows.items()}
    columns["license"] = columns["license"].dictionary_encode()
    project.validated.mkdir(parents=True)
    pq.write_table(pa.table(columns), project.validated / "manifest.parquet")


def test_images_are_counted_by_source_license_and_photograph(project: Project) -> None:
    rows: dict[str, list[str | None]] = {
        "id": ["a", "b", "c", "d", "e"],
        "source": ["sample", "sample", "folder", "sample", "sample"],
        "url": ["one.jpg#0,0", "one.jpg#0,64", "two.jpg", None, ""],
        "license": ["CC0", "CC0", None, "", "CC BY"],
        "split": ["train", "train", "train", "test", "test"],
    }
    write_manifest(project, rows)
    counts = data_counts(project)
    assert counts.sources == {"sample": 4, "folder": 1}
    assert counts.licenses == {"CC0": 2, "not stated": 2, "CC BY": 1}
    assert counts.photographs == {"train": 2, "test": 2}


def test_many_licenses_still_fit_into_a_tag(project: Project) -> None:
    names: list[str | None] = [f"{number} ü {'x' * 500}" for number in range(60)]
    column: list[str | None] = ["a"] * 62
    licenses = [*names, "CC0", "CC0"]
    rows = dict.fromkeys(("id", "source", "url", "split"), column) | {"license": licenses}
    write_manifest(project, rows)
    counts = data_counts(project)
    assert sum(counts.licenses.values()) == 62
    assert counts.licenses["CC0"] == 2
    assert counts.licenses["others"] == 49
    assert DataCounts.from_tags(counts.to_tags()) == counts
    assert all(len(text) < 8000 for text in counts.to_tags().values())


@pytest.mark.parametrize("content", [None, b"", b"no table"])
def test_a_table_that_cannot_be_read_is_not_counted(
    project: Project, content: bytes | None
) -> None:
    files.write_json(project.validated / "validation.json", report())
    if content is not None:
        (project.validated / "manifest.parquet").write_bytes(content)
    images = {"rows": 3, "accepted": 2, "quarantined": 1}
    assert data_counts(project) == DataCounts(images, {"unique": 1}, {"train": 2})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": 3}'])
def test_a_broken_validation_is_not_counted(project: Project, text: str) -> None:
    files.write_text(project.validated / "validation.json", text)
    assert data_counts(project) == DataCounts()


def test_a_checkout_without_data_has_no_facts(project: Project) -> None:
    assert data_facts(project) == DataFacts()


def test_the_shards_are_named_by_what_their_indices_say(project: Project) -> None:
    chunk, index = project.lab / "train" / "a.bin", project.lab / "train" / "index.json"
    files.write_text(index, '{"chunks": [{"filename": "a.bin", "sha256": "1"}]}')
    chunk.write_bytes(b"shard")
    before = data_facts(project).lab
    (project.lab / "train" / "a.colors.npy").write_bytes(b"colors of its images")
    chunk.unlink()
    assert data_facts(project).lab == before, "a node that streams them has no shards"
    files.write_text(index, '{"chunks": [{"filename": "a.bin", "sha256": "2"}]}')
    assert data_facts(project).lab != before


def test_manifests_are_named_by_their_bytes(project: Project, tmp_path: Path) -> None:
    files.write_text(project.raw / "manifest.parquet", "rows")
    files.write_text(tmp_path / "same", "rows")
    assert data_facts(project).raw_manifest == files.sha256_of(tmp_path / "same")
