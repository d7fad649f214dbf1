import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chromaflow.data.sources.base import Source, open_source
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.support.hosts import Host, unsplash
from tests.support.photographs import photograph

PIECES = [photograph(number) for number in range(12)]


def open_(checkout: Project, **source: object) -> Source:
    values = {"source": {"name": "unsplash", **source}, "download": {"reserve": "1B", "retries": 0}}
    return open_source("unsplash", checkout, Settings.model_validate(values))


@pytest.mark.parametrize("extension", ["tsv000", "csv000"])
def test_photographs_of_the_fetched_table(checkout: Project, host: Host, extension: str) -> None:
    source = open_(checkout, address=unsplash(host, PIECES[:12], extension))
    found = list(source.records())
    assert (source.total, source.skipped, len(found)) == (12, 0, 12)
    assert {record.url for record in found} == {f"unsplash:id{number}" for number in range(12)}
    download = next(r.download for r in found if r.url == "unsplash:id3")
    assert download is not None
    assert download.address == f"{host.address}/photo-3"
    assert all("Unsplash" in record.license and not record.label for record in found)


def test_a_width_is_asked_of_the_server_and_is_another_image(checkout: Project, host: Host) -> None:
    address = unsplash(host, PIECES[:3])
    record = next(open_(checkout, address=address, width=640).records())
    assert record.download is not None
    assert record.download.address.endswith("/photo-0?w=640&fit=max&fm=jpg&q=85")
    assert record.url == "unsplash:id0?w=640"


def test_table_and_archive_on_disk_and_repeated_rows(
    checkout: Project, host: Host, tmp_path: Path
) -> None:
    unsplash(host, PIECES[:3])
    (tmp_path / "lite.zip").write_bytes(host.files["/data/lite/latest"])
    host.asked.clear()
    assert open_(checkout, archive=str(tmp_path / "lite.zip")).total == 3
    table = tmp_path / "photos.tsv000"
    table.write_text(
        "photo_id\tphoto_image_url\n"
        "a\thttps://images.example.org/a\nb\thttps://images.example.org/b\n"
        "a\thttps://images.example.org/other\n\tx\nc\n"
    )
    source = open_(checkout, archive=str(table), images=9)
    assert (source.total, source.skipped) == (2, 1)
    first = next(source.records()).download
    assert first is not None
    assert first.address == "https://images.example.org/a"
    assert not host.asked


def no_table(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("keywords.tsv000", "x")


def broken(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photos.tsv000", "photo_id\tphoto_image_url\n" + "a\thttps://a/b\n" * 999)
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (no_table, "holds no table"),
        (broken, "is broken"),
        (lambda path: path.write_text("photo_id\tother\n"), "no column photo_image_url"),
        (lambda path: path.write_text("photo_id\tphoto_image_url\n"), "holds no photograph"),
        (lambda path: path.write_bytes(b""), "no column photo_image_url"),
        (str, "cannot be read"),
    ],
)
def test_what_is_no_set_is_named(
    checkout: Project, tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    make(tmp_path / "lite.zip")
    with pytest.raises(DataError, match=problem) as caught:
        open_(checkout, archive=str(tmp_path / "lite.zip"))
    assert "source.archive=PATH" in caught.value.remedy
