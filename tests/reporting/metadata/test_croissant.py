import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageChops

from chromaflow.data.snapshot.manifest import KINDS
from chromaflow.data.snapshot.read import read_snapshot
from chromaflow.errors import DataError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.reporting.metadata import croissant
from tests.support.description import Row, Tables, pictures, write_tables

mlcroissant = pytest.importorskip("mlcroissant")


def described(checkout: Project) -> Path:
    folder = checkout.data_description
    node = croissant.describe(read_snapshot(checkout), folder)
    files.write_json(folder / "croissant.json", node)
    return folder / "croissant.json"


def records(path: Path, name: str) -> list[Row]:
    """What mlcroissant reads, with texts as texts."""

    def plain(value: object) -> object:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value.decode() if isinstance(value, bytes) else value

    return [
        {key.partition("/")[2]: plain(value) for key, value in record.items()}
        for record in mlcroissant.Dataset(jsonld=path).records(name)
    ]


def test_mlcroissant_finds_it_valid_and_reads_the_tables_back(checkout: Project) -> None:
    path = described(checkout)
    assert croissant.check(path)
    accepted = pq.read_table(checkout.validated / "manifest.parquet").to_pylist()
    assert records(path, "images") == accepted
    refused = pq.read_table(checkout.validated / "quarantine.parquet").to_pylist()
    assert records(path, "quarantine") == refused
    assert [entry["name"] for entry in records(path, "splits")] == ["train", "validation", "test"]


def test_what_neither_trains_nor_was_refused_has_its_table(checkout: Project, rows: Tables) -> None:
    _, (grey, _) = rows
    kind = KINDS["historic"]
    historic = {name: grey.get(name, "a group") for name in kind.schema.names}
    table = pa.Table.from_pylist([historic], schema=kind.schema)
    pq.write_table(table, checkout.validated / kind.file)
    path = described(checkout)
    assert croissant.check(path)
    assert records(path, "historic") == [historic]


def test_the_pictures_come_out_of_the_shards(
    checkout: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etils import epath
    from mlcroissant._src.operation_graph.operations import extract

    monkeypatch.setattr(extract, "EXTRACT_PATH", epath.Path(tmp_path / "extracted"))
    write_tables(checkout, *without_broken(checkout))
    path = described(checkout)
    found = {entry["key"]: entry["content"] for entry in records(path, "pictures")}
    for row, (_, content, _) in zip(ordered(checkout), pictures(), strict=False):
        with Image.open(io.BytesIO(content)) as expected:
            assert ImageChops.difference(found[row["key"]], expected).getbbox() is None


def ordered(checkout: Project) -> list[Row]:
    rows = pq.read_table(checkout.validated / "manifest.parquet").to_pylist()
    return sorted(rows, key=lambda row: int(row["url"].partition("#")[2]))


def without_broken(checkout: Project) -> Tables:
    """The snapshot without its second shard, which holds the file that is no picture."""

    def rows_of(name: str) -> list[Row]:
        rows = pq.read_table(checkout.validated / name).to_pylist()
        return [row for row in rows if row["shard"] == "sample/000000.tar"]

    return rows_of("manifest.parquet"), rows_of("quarantine.parquet")


def test_every_file_stands_there_with_its_sha256(checkout: Project) -> None:
    path = described(checkout)
    listed = [
        entry
        for entry in json.loads(path.read_text())["distribution"]
        if entry["@type"] == "cr:FileObject"
    ]
    assert len(listed) == 4
    for entry in listed:
        file = path.parent / entry["contentUrl"]
        assert entry["sha256"] == files.sha256_of(file)
        assert entry["contentSize"] == f"{file.stat().st_size} B"


def test_a_table_that_changed_afterwards_is_refused(checkout: Project, rows: Tables) -> None:
    path = described(checkout)
    accepted, refused = rows
    write_tables(checkout, accepted[1:], refused)
    with pytest.raises(Exception, match=r"Download\(images-table\)") as caught:
        records(path, "images")
    assert "not identical" in str(caught.value.__cause__)


def test_it_says_under_which_terms_and_by_whom(checkout: Project) -> None:
    node = json.loads(described(checkout).read_text())
    assert node["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    assert node["version"].endswith(read_snapshot(checkout).digest[:16])
    assert {entry["name"]: entry.get("url", "") for entry in node["license"]} == {
        "CC0 (somebody)": "https://creativecommons.org/publicdomain/zero/1.0/",
        "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    }
    assert "van der Walt" in node["citeAs"]
    assert "2 of 7 images" in node["rai:dataCollectionMissingData"]
    assert "dvc pull" in node["conditionsOfAccess"]


def test_a_folder_of_ones_own_claims_no_creator(checkout: Project, rows: Tables) -> None:
    accepted, refused = rows
    own = [{**row, "source": "folder", "license": None, "label": ""} for row in accepted]
    write_tables(checkout, own, refused)
    path = described(checkout)
    assert croissant.check(path)
    node = json.loads(path.read_text())
    assert not {"creator", "citeAs", "prov:wasDerivedFrom"} & set(node)
    assert node["license"] == [{"@type": "sc:CreativeWork", "name": "unknown"}]


def test_the_context_is_the_one_that_mlcroissant_writes() -> None:
    from mlcroissant._src.core.context import Context
    from mlcroissant._src.core.rdf import make_context

    expected = make_context(Context(conforms_to="http://mlcommons.org/croissant/1.1"))
    assert expected.items() <= croissant._CONTEXT.items()


def test_what_is_not_valid_is_told(tmp_path: Path) -> None:
    path = tmp_path / "croissant.json"
    node = {"@type": "sc:Dataset", "conformsTo": "http://mlcommons.org/croissant/1.1"}
    lost = {"@type": "cr:FileObject", "@id": "lost", "encodingFormat": "text/csv"}
    files.write_json(path, node | {"@context": croissant._CONTEXT, "distribution": [lost]})
    with pytest.raises(DataError, match="not valid Croissant"):
        croissant.check(path)


def test_without_mlcroissant_nothing_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert not croissant.check(tmp_path / "none.json")
