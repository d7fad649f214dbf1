import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chromaflow.data.ingest.build import build_snapshot
from chromaflow.data.quality import review, waivers
from chromaflow.data.snapshot.manifest import KINDS
from chromaflow.data.snapshot.validation import ExpectationResult, WaiverCounts
from chromaflow.errors import DataError
from chromaflow.project.files import digest_of_folder
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.validate import validate
from tests.support.manifests import MEASURES, Row, row, rows, rows_of, write


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    return Project(tmp_path)


def faulty() -> list[Row]:
    """Forty good rows and one row for each way to be refused."""
    broken = {**dict.fromkeys(MEASURES), "decodes": False, "error": "it is empty"}
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
    result = validate(checkout, Settings()).report
    assert json.loads((checkout.validated / "validation.json").read_text()) == result.to_json()
    assert (result.rows, result.accepted, result.quarantined) == (50, 41, 9)
    assert result.reasons == {
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
        50: ["does not decode: it is empty"],
        51: ["does not decode: it is empty"],
        52: ["shorter side 63 px is below quality.min_side = 64"],
        53: ["aspect 4.16667 is above quality.max_aspect = 4"],
        54: ["grey: mean chroma 2.999 is below quality.min_chroma = 3"],
        55: ["tinted: spread of chroma 2.499 is below quality.min_chroma_spread = 2.5"],
        56: [f"duplicate of {7:016x}"],
        57: ["no license: source.license can state one"],
        59: [f"near {8:016x} and {9:016x}, which belong to different groups"],
    }
    for kind in KINDS.values():
        assert pq.read_schema(checkout.validated / kind.file).names == kind.schema.names
    found = rows_of(checkout.validated / "manifest.parquet")
    assert list(found) == sorted(found)
    assert not set(found) & set(refused)
    assert found[f"{8:016x}"]["group"] == found[f"{58:016x}"]["group"]
    assert found[f"{8:016x}"]["split"] == found[f"{58:016x}"]["split"]
    splits = [entry["split"] for entry in found.values()]
    assert result.splits == {name: splits.count(name) for name in result.splits}
    expectations = {entry.name: entry for entry in result.expectations}
    assert expectations["min_side"] == ExpectationResult(
        name="min_side", column="shorter_side", success=False, unexpected=1
    )
    assert expectations["min_images"].success


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
    assert caught.value.remedy == "chromaflow ingest"
    checkout.raw.mkdir(parents=True)
    path = checkout.raw / "manifest.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(DataError, match="cannot be read"):
        validate(checkout, Settings())
    pq.write_table(pa.table({"id": ["a"], "url": ["b"]}), path)
    with pytest.raises(DataError, match="lacks the columns"):
        validate(checkout, Settings())


def test_the_sample_from_pixels_to_splits(checkout: Project) -> None:
    settings = Settings.model_validate({"split": {"salt": "sample-86"}})
    build_snapshot(checkout, settings)
    result = validate(checkout, settings).report
    assert min(result.splits.values()) > 0
    assert result.splits["train"] >= 0.6 * result.accepted
    photographs: dict[str, set[str]] = {}
    for entry in rows_of(checkout.validated / "manifest.parquet").values():
        photographs.setdefault(entry["split"], set()).add(entry["url"].partition("#")[0])
    assert photographs["test"] == {"skimage:chelsea.png", "skimage:coffee.png"}
    assert photographs["validation"] == {"skimage:rocket.jpg"}
    assert "skimage:motorcycle" in photographs["train"]
    refused = rows_of(checkout.validated / "quarantine.parquet")
    # The empty corners of the retina photograph are black.
    assert any(entry["url"] == "skimage:retina.jpg#0,0,128" for entry in refused.values())


def test_grey_sepia_tinted_and_blank_are_told_apart(checkout: Project) -> None:
    odd = {
        "grey": row(50, mean_chroma=1.0, chroma_spread=0.5),
        "sepia": row(51, free_chroma=1.0, mean_a=3.0, mean_b=19.0),
        "tinted": row(52, free_chroma=1.0, mean_a=-3.0, mean_b=-19.0),
        "blank": row(53, luma_spread=1.0),
    }
    write(checkout, [*rows(30), *odd.values()])
    validate(checkout, Settings())
    refused = rows_of(checkout.validated / "quarantine.parquet")
    for kind, entry in odd.items():
        assert [reason.partition(":")[0] for reason in refused[entry["id"]]["reasons"]] == [kind]
    assert len(refused) == len(odd)


def test_licenses_and_labels_are_asked_by_pattern(checkout: Project) -> None:
    odd = [row(50, license="all rights reserved", label="cat"), row(51, label="dog")]
    write(checkout, [*rows(30, label="cat"), *odd])
    quality = {"licenses": ["cc*"], "labels": ["Cat"]}
    result = validate(checkout, Settings.model_validate({"quality": quality})).report
    assert result.reasons == {"license_allowed": 1, "label_known": 1}
    refused = rows_of(checkout.validated / "quarantine.parquet")
    assert refused[f"{50:016x}"]["reasons"] == [
        "license 'all rights reserved' is not in quality.licenses"
    ]
    assert refused[f"{51:016x}"]["reasons"] == ["label 'dog' is not in quality.labels"]


def test_duplicates_across_sources_leave_the_older_one(checkout: Project) -> None:
    other = {"source": "other", "shard": "other/000000.tar"}
    near = row(1)["phash"]
    write(
        checkout,
        [*rows(30), row(50, sha256=row(2)["sha256"], **other), row(51, phash=near, **other)],
    )
    result = validate(checkout, Settings()).report
    assert result.reasons == {"unique": 1}
    found = rows_of(checkout.validated / "manifest.parquet")
    pair = [found[f"{index:016x}"] for index in (1, 51)]
    assert pair[0]["group"] == pair[1]["group"]
    assert pair[0]["split"] == pair[1]["split"]


@pytest.mark.parametrize(
    ("quality", "name"), [({"min_label_images": 3}, "min_label"), ({"max_label_share": 0.8}, "max")]
)
def test_labels_that_are_out_of_balance_stop(
    checkout: Project, quality: dict[str, float], name: str
) -> None:
    write(checkout, [*rows(30, label="cat"), row(50, label="dog"), row(51, label="dog")])
    with pytest.raises(DataError, match=rf"quality\.{name}"):
        validate(checkout, Settings.model_validate({"quality": quality}))
    assert not checkout.validated.exists()


def test_drift_stops_with_numbers_until_it_is_accepted_once(checkout: Project) -> None:
    write(checkout, rows(200))
    validate(checkout, Settings())
    before = digest_of_folder(checkout.validated), checkout.quality_record.read_bytes()
    write(checkout, rows(200, mean_chroma=45.0))
    with pytest.raises(DataError, match=r"index \d+\.\d+, limit .*20 to 25: 9\d\.\d%") as caught:
        validate(checkout, Settings())
    assert "quality.max_drift=0" in caught.value.remedy
    assert (digest_of_folder(checkout.validated), checkout.quality_record.read_bytes()) == before
    validate(checkout, Settings.model_validate({"quality": {"max_drift": 0}}))
    accepted = checkout.quality_record.read_bytes()
    validate(checkout, Settings())
    assert checkout.quality_record.read_bytes() == accepted != before[1]


def test_another_data_set_is_no_drift(checkout: Project) -> None:
    write(checkout, rows(200))
    validate(checkout, Settings())
    write(checkout, rows(200, mean_chroma=45.0, source="cvcl"))
    validate(checkout, Settings())
    write(checkout, rows(200, source="cvcl"))
    validate(
        checkout, Settings.model_validate({"source": {"name": "cvcl", "categories": ["street"]}})
    )


def test_a_fresh_clone_writes_the_same_bytes_with_and_without_history(
    checkout: Project, tmp_path: Path
) -> None:
    clone = Project(tmp_path / "clone")
    for project in (checkout, clone):
        write(project, faulty())
        validate(project, Settings())
    assert digest_of_folder(checkout.validated) == digest_of_folder(clone.validated)
    assert checkout.quality_record.read_bytes() == clone.quality_record.read_bytes()


def test_a_released_image_trains_and_a_recalled_one_does_not(checkout: Project) -> None:
    write(checkout, faulty())
    validate(checkout, Settings())
    image = f"{54:016x}"
    review.release(checkout, [image], "it is a grey cat in a colored room")
    result = validate(checkout, Settings()).report
    assert result.waivers == WaiverCounts(held=1, void=0)
    assert image in rows_of(checkout.validated / "manifest.parquet")
    waivers.remove(checkout, [image])
    validate(checkout, Settings())
    assert image in rows_of(checkout.validated / "quarantine.parquet")


def test_a_release_holds_for_its_bytes_and_its_rules_only(checkout: Project) -> None:
    write(checkout, faulty())
    validate(checkout, Settings())
    image = f"{54:016x}"
    review.release(checkout, [image], "a test", ["min_chroma"])
    changed = row(54, mean_chroma=2.0, chroma_spread=0.5, sha256="ab" * 32)
    write(checkout, [entry for entry in faulty() if entry["id"] != image] + [changed])
    assert validate(checkout, Settings()).report.waivers == WaiverCounts(held=0, void=1)
    assert image in rows_of(checkout.validated / "quarantine.parquet")
    write(checkout, [*faulty()[:-6], row(54, mean_chroma=2.0, chroma_spread=0.5, width=60)])
    validate(checkout, Settings())
    assert rows_of(checkout.validated / "quarantine.parquet")[image]["rules"] == ["min_side"]


def test_historic_photographs_and_what_is_near_them_never_train(checkout: Project) -> None:
    old = row(50, split_hint="historic", source="historic", mean_chroma=0.0, chroma_spread=0.0)
    same = row(51, sha256=old["sha256"], shard="a/000000.tar")
    near = row(52, phash=old["phash"], shard="a/000000.tar")
    write(checkout, [*rows(30), old, same, near])
    result = validate(checkout, Settings()).report
    assert (result.historic, result.reasons) == (1, {"unique": 1, "near_historic": 1})
    assert list(rows_of(checkout.validated / "historic.parquet")) == [old["id"]]


def test_exact_counts_leave_the_rest_unused(checkout: Project) -> None:
    labels = [row(index, label="ab"[index % 2]) for index in range(1, 61)]
    write(checkout, labels)
    split = {"train": 30, "validation": 6, "test": 10}
    result = validate(checkout, Settings.model_validate({"split": split})).report
    assert result.splits == split
    assert result.unused == 14
    assert result.labels["a"] == {"train": 15, "validation": 3, "test": 5}


def test_a_leak_between_splits_stops(checkout: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check judges what was placed, whoever placed it."""
    write(checkout, [*rows(30), row(50, phash=row(1)["phash"])])
    monkeypatch.setattr(
        "chromaflow.data.quality.judge_snapshot.place_rows",
        lambda groups, *_: np.arange(len(groups)) * 3 // len(groups),
    )
    with pytest.raises(DataError, match="groups_in_one_split"):
        validate(checkout, Settings())
    assert not checkout.validated.exists()
