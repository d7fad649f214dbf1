from pathlib import Path

import pytest

from chromaflow.data.quality import review, waivers
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.reporting import quarantine_sheets
from chromaflow.settings import Settings
from chromaflow.steps.validate import validate
from tests.support.manifests import row, rows, write

GREY, SMALL, COPY = (f"{index:016x}" for index in (50, 51, 52))


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    odd = [row(50, mean_chroma=1.0, width=60), row(51, width=60), row(52, sha256=row(1)["sha256"])]
    write(project, [*rows(30), *odd])
    validate(project, Settings())
    return project


def test_reasons_are_counted_and_images_named(checkout: Project) -> None:
    found = review.list_refused(checkout)
    assert found == {
        "quarantined": 3,
        "reasons": {"min_side": 2, "min_chroma": 1, "unique": 1},
        "releases": [],
    }
    images = review.list_refused(checkout, "min_chroma")["images"]
    assert [image["id"] for image in images] == [GREY]
    assert len(images[0]["reasons"]) == 2


def test_a_release_waives_what_refused_the_image_or_what_is_named(checkout: Project) -> None:
    (made,) = review.release(checkout, [GREY, GREY], "it is fine")
    assert made.rules == ["min_chroma", "min_side"]
    assert made.sha256 == f"{50:064x}"
    (made,) = review.release(checkout, [SMALL], "it is fine", ["min_side"])
    assert made.rules == ["min_side"]
    assert len(review.list_refused(checkout)["releases"]) == 2


@pytest.mark.parametrize(
    ("images", "rules", "reason"),
    [
        ([GREY, "nobody"], [], "nobody is not in quarantine"),
        ([GREY, COPY], [], "cannot be released from unique: duplicate of"),
        ([GREY], ["unique"], "was not refused by unique, but by min_side, min_chroma"),
    ],
)
def test_what_may_not_be_released_is_told_and_nothing_is_decided(
    checkout: Project, images: list[str], rules: list[str], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        review.release(checkout, images, "why", rules)
    assert waivers.read(checkout) == []


def test_sheets_go_over_pages(
    checkout: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine_sheets, "PAGE", 2)
    folder = tmp_path / "sheets"
    found = quarantine_sheets.write_sheets(checkout, Settings(), folder)
    assert (found["images"], found["pages"]) == (3, 2)
    first, second = ((folder / name).read_text() for name in ("index.html", "page-000002.html"))
    assert (first + second).count("<figure>") == 3
    assert 'href="page-000002.html">next' in first
    assert 'href="index.html">previous' in second
    assert quarantine_sheets.write_sheets(checkout, Settings(), folder, "unique")["images"] == 1
    assert not (folder / "page-000002.html").exists()


def test_no_folder_of_something_else_is_replaced(checkout: Project, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="holds something else"):
        quarantine_sheets.write_sheets(checkout, Settings(), tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").exists()


def test_what_is_not_there_is_told(checkout: Project, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"by blank; there are: min_side"):
        review.list_refused(checkout, "blank")
    with pytest.raises(DataError, match="there is no") as caught:
        review.list_refused(Project(tmp_path / "empty"))
    assert caught.value.remedy == "chromaflow validate"
    (checkout.validated / "quarantine.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="cannot be read"):
        review.list_refused(checkout)
