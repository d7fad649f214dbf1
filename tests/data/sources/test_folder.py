import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chromaflow.data.sources.base import Source, UnreadableError, open_source
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    for name in ("b.JPG", "a.png", "cats/x.webp", "cats/deep/y.tiff", "notes.txt", "._a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def open_folder(root: Path, text: str) -> Source:
    checkout = root / "checkout"
    checkout.mkdir(exist_ok=True)
    values = {"source": {"name": "folder", "folder": text, "license": "CC0"}}
    return open_source("folder", Project(checkout), Settings.model_validate(values))


def test_photographs_in_order_with_their_folder_as_label(photographs: Path) -> None:
    source = open_folder(photographs.parent, str(photographs))
    found = list(source.records())
    assert [(r.url, r.label, r.extension) for r in found] == [
        ("folder:a.png", "", ".png"),
        ("folder:b.JPG", "", ".jpg"),
        ("folder:cats/x.webp", "cats", ".webp"),
        ("folder:cats/deep/y.tiff", "deep", ".tiff"),
    ]
    assert found[1].read() == b"b.JPG"
    assert {record.license for record in found} == {"CC0"}
    assert (source.total, source.skipped) == (4, 2)


def test_relative_paths_start_at_the_checkout_and_tilde_at_home(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_folder(photographs.parent, "../photographs").total == 4
    monkeypatch.setenv("HOME", str(photographs.parent))
    assert open_folder(photographs.parent, "~/photographs").total == 4


def test_names_that_mean_something_in_a_url_are_escaped(photographs: Path) -> None:
    (photographs / "a#1 b.png").write_bytes(b"")
    (photographs / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    urls = {record.url for record in open_folder(photographs.parent, str(photographs)).records()}
    assert {"folder:a%231%20b.png", "folder:caf%E9.png"} <= urls


def test_links_that_lead_out_of_the_folder_are_not_followed(photographs: Path) -> None:
    outside = photographs.parent / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    (photographs / "folder_link").symlink_to(outside)
    (photographs / "file_link.png").symlink_to(outside / "secret.png")
    (photographs / "dangling.png").symlink_to(outside / "nothing.png")
    (photographs / "inside.png").symlink_to(photographs / "a.png")
    urls = {record.url for record in open_folder(photographs.parent, str(photographs)).records()}
    assert "folder:inside.png" in urls
    assert not urls & {
        "folder:file_link.png",
        "folder:dangling.png",
        "folder:folder_link/secret.png",
    }


def test_special_files_are_passed_over(photographs: Path) -> None:
    os.mkfifo(photographs / "pipe.png")
    assert open_folder(photographs.parent, str(photographs)).total == 4


def test_a_file_that_vanishes_is_unreadable(photographs: Path) -> None:
    record = next(open_folder(photographs.parent, str(photographs)).records())
    (photographs / "a.png").unlink()
    with pytest.raises(UnreadableError, match="No such file"):
        record.read()


def test_a_folder_that_cannot_be_listed_is_named(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: os.PathLike[str] | str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "cats":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"source\.folder.*cats.*Permission denied"):
        open_folder(photographs.parent, str(photographs))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no folder"),
        ("missing", "does not exist"),
        ("~nobody-of-this-name/photographs", "does not exist"),
        ("../photographs/a.png", "is not a folder"),
        ("../empty", "holds no image"),
        (".", "holds this checkout"),
        ("..", "holds this checkout"),
        ("data/raw/mine", "ingest's own"),
    ],
)
def test_folders_that_cannot_be_used_are_named(photographs: Path, text: str, problem: str) -> None:
    (photographs.parent / "empty").mkdir()
    (photographs.parent / "checkout/data/raw/mine").mkdir(parents=True)
    with pytest.raises(DataError, match=problem) as caught:
        open_folder(photographs.parent, text)
    assert "source.folder" in caught.value.problem
    assert "source.folder=PATH" in caught.value.remedy


def test_a_link_to_itself_is_passed_over(photographs: Path) -> None:
    before = open_folder(photographs.parent, str(photographs)).skipped
    (photographs / "loop.jpg").symlink_to("loop.jpg")
    assert open_folder(photographs.parent, str(photographs)).skipped == before + 1
