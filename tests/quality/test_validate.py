import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chromaflow.errors import DataError
from chromaflow.files import digest_of_folder
from chromaflow.project import Project
from chromaflow.quality.table import COLUMNS
from chromaflow.quality.validate import validate
from chromaflow.settings import Settings
from chromaflow.sources.ingest import ingest
from chromaflow.sources.manifest import SCHEMA

MEASURES = (
    *("width", "height", "mean_chroma", "chroma_spread", "mean_a", "mean_b", "luma_spread"),
    "phash",
)


def row(index: int, **changes: object) -> dict:
    rng = np.random.default_rng(index)
    good = {
        "id": f"{index:016x}",
        "source": "folder",
        "url": f"folder:{index}.jpg",
        "label": "",
        "license": "CC0",
        "sha256": f"{index:064x}",
        "bytes": 1000,
        "width": 300,
        "height": 200,
        "decodes": True,
        "mean_chroma": 20.0,
        "chroma_spread": 9.0,
        "mean_a": 5.0,
        "mean_b": -5.0,
        "luma_spread": 20.0,
        "phash": f"{int(rng.integers(0, 2**63)):016x}",
        "shard": f"folder/{index // 10:06d}.tar",
        "key": f"{index:016x}",
        "error": None,
        "split_hint": None,
    }
    return {**good, **changes}


def write(project: Project, rows: list[dict]) -> None:
    project.raw.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(table.sort_by("id"), project.raw / "manifest.parquet")


def rows_of(path: Path) -> dict[str, dict]:
    return {found["id"]: found for found in pq.read_table(path).to_pylist()}


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    return Project(tmp_path)


def faulty() -> list[dict]:
    """Forty good rows and one row for each way to be refused."""
    broken = {**dict.fromkeys(MEASURES), "decodes": False, "error": "it holds no bytes"}
    return [
        *[row(index) for index in range(1, 41)],
        row(50, **broken, sha256="00"),
        row(51, **broken, sha256="00"),
        row(52, width=63),
        row(53, width=1000, height=240),
        row(54, mean_chroma=2.999, chroma_spread=0.5),
        row(55, chroma_spread=2.499),
        row(56, sha256=f"{7:064x}", phash=row(7)["phash"]),
        row(57, license=None),
        row(58, phash=row(8)["phash"]),
        row(59, phash=row(9)["phash"], url="folder:8.jpg#0,0"),
    ]


def test_each_fault_goes_to_quarantine_with_its_reasons(checkout: Project) -> None:
    write(checkout, faulty())
    result = validate(checkout, Settings())
    assert json.loads((checkout.validated / "validation.json").read_text()) == result
    assert (result["rows"], result["accepted"], result["quarantined"]) == (50, 41, 9)
    assert result["reasons"] == {
        "decodes": 2,
        "min_side": 1,
        "max_aspect": 1,
        "min_chroma": 1,
        "min_chroma_spread": 1,
        "unique": 1,
        "license": 1,
        "near_two_groups": 1,
    }
    refused = rows_of(checkout.validated / "quarantine.parquet")
    reasons = {int(key, 16): found["reasons"] for key, found in refused.items()}
    assert reasons == {
        50: ["does not decode: it holds no bytes"],
        51: ["does not decode: it holds no bytes"],
        52: ["shorter side 63 px is below quality.min_side = 64"],
        53: ["aspect 4.16667 is above quality.max_aspect = 4"],
        54: ["grey: mean chroma 2.999 is below quality.min_chroma = 3"],
        55: ["tinted: spread of chroma 2.499 is below quality.min_chroma_spread = 2.5"],
        56: [f"duplicate of {7:016x}"],
        57: ["no license; source.license tells it"],
        59: [f"near {8:016x} and {9:016x}, which belong to different groups"],
    }
    accepted = pq.read_table(checkout.validated / "manifest.parquet")
    assert accepted.column_names == [*SCHEMA.names, "group", "split"]
    found = rows_of(checkout.validated / "manifest.parquet")
    assert list(found) == sorted(found)
    assert not set(found) & set(refused)
    assert found[f"{8:016x}"]["group"] == found[f"{58:016x}"]["group"]
    assert found[f"{8:016x}"]["split"] == found[f"{58:016x}"]["split"]
    splits = [entry["split"] for entry in found.values()]
    assert result["splits"] == {name: splits.count(name) for name in result["splits"]}
    expectations = {entry["name"]: entry for entry in result["expectations"]}
    assert expectations["min_side"] == {
        "name": "min_side",
        "column": "shorter_side",
        "success": False,
        "unexpected": 1,
    }
    assert expectations["min_images"]["success"]


def test_equal_inputs_give_equal_bytes_and_data_docs_open_from_disk(checkout: Project) -> None:
    write(checkout, faulty())
    validate(checkout, Settings())
    before = digest_of_folder(checkout.validated)
    validate(checkout, Settings())
    assert digest_of_folder(checkout.validated) == before
    assert not [path for path in checkout.validated.parent.iterdir() if path.name[0] == "."]
    pages = list(checkout.data_docs.rglob("*.html"))
    text = "".join(page.read_text() for page in pages)
    assert (checkout.data_docs / "index.html") in pages
    assert "mean_chroma" in text
    assert f"{54:016x}" in text
    assert not re.search(r"<(script|link|img|iframe)[^>]*https?:", text)
    assert not re.search(r"url\([\"']?https?:", text)


def test_images_that_are_added_move_no_other(checkout: Project) -> None:
    write(checkout, faulty())
    validate(checkout, Settings())
    before = rows_of(checkout.validated / "manifest.parquet")
    added = [row(index) for index in range(60, 90)]
    added += [row(index, phash=row(index - 90)["phash"]) for index in range(91, 100)]
    # Age is told by the shard, not by the id.
    added += [row(0, phash=row(3)["phash"], shard="folder/000099.tar")]
    write(checkout, faulty() + added)
    validate(checkout, Settings())
    after = rows_of(checkout.validated / "manifest.parquet")
    assert {key: (after[key]["group"], after[key]["split"]) for key in before} == {
        key: (before[key]["group"], before[key]["split"]) for key in before
    }


def test_too_few_images_stop_with_a_report_and_leave_the_old_table(checkout: Project) -> None:
    write(checkout, faulty())
    validate(checkout, Settings())
    before = digest_of_folder(checkout.validated)
    write(checkout, [row(index, mean_chroma=0.0) for index in range(12)])
    with pytest.raises(DataError, match=r"quality\.min_images = 8.*12 min_chroma") as caught:
        validate(checkout, Settings())
    docs = re.search(r"see (\S+index\.html)", caught.value.problem)
    assert docs is not None
    assert Path(docs[1]).is_file()
    assert digest_of_folder(checkout.validated) == before


def test_ids_that_are_not_unique_stop(checkout: Project) -> None:
    write(checkout, [row(index) for index in range(20)] + [row(3, url="folder:other.jpg")])
    with pytest.raises(DataError, match="unique_ids"):
        validate(checkout, Settings())
    assert not checkout.validated.exists()


def test_an_empty_split_stops(checkout: Project) -> None:
    write(checkout, [row(index, url=f"folder:0.jpg#{index}") for index in range(20)])
    with pytest.raises(DataError, match=r"split\.salt"):
        validate(checkout, Settings())
    assert not checkout.validated.exists()


def test_manifests_that_cannot_be_read_are_named(checkout: Project) -> None:
    with pytest.raises(DataError, match=r"manifest\.parquet") as caught:
        validate(checkout, Settings())
    assert caught.value.mend == "chromaflow ingest"
    checkout.raw.mkdir(parents=True)
    path = checkout.raw / "manifest.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(DataError, match="is no manifest"):
        validate(checkout, Settings())
    pq.write_table(pa.table({"id": ["a"], "url": ["b"]}), path)
    with pytest.raises(DataError, match=r"lacks the columns|is no manifest"):
        validate(checkout, Settings())


def test_columns_are_those_that_ingest_writes() -> None:
    assert list(COLUMNS) == SCHEMA.names


def test_the_sample_from_pixels_to_splits(checkout: Project) -> None:
    settings = Settings.model_validate({"split": {"salt": "sample-86"}})
    ingest(checkout, settings)
    result = validate(checkout, settings)
    assert min(result["splits"].values()) > 0
    assert result["splits"]["train"] >= 0.6 * result["accepted"]
    photographs: dict[str, set] = {}
    for entry in rows_of(checkout.validated / "manifest.parquet").values():
        photographs.setdefault(entry["split"], set()).add(entry["url"].partition("#")[0])
    assert photographs["test"] == {"skimage:chelsea.png", "skimage:coffee.png"}
    assert photographs["validation"] == {"skimage:rocket.jpg"}
    assert "skimage:motorcycle" in photographs["train"]
    refused = rows_of(checkout.validated / "quarantine.parquet")
    # The empty corners of the retina photograph are black.
    assert any(entry["url"] == "skimage:retina.jpg#0,0,128" for entry in refused.values())
