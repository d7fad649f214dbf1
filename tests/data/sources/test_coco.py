import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chromaflow.data.sources.base import Source, UnreadableError, draw, open_source
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.support.hosts import Host, coco, coco_annotations
from tests.support.photographs import photograph


def open_coco(checkout: Project, **source: object) -> Source:
    values = {"source": {"name": "coco", **source}, "download": {"reserve": "1B", "retries": 0}}
    return open_source("coco", checkout, Settings.model_validate(values))


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    path = tmp_path / "instances_train2017.json"
    path.write_text(json.dumps(coco_annotations(20)))
    return path


def test_photographs_by_their_annotations(checkout: Project, host: Host) -> None:
    source = open_coco(checkout, address=coco(host, [photograph(n) for n in range(20)]))
    found = {record.url: record for record in source.records()}
    assert source.total == len(found) == 20
    record = found["coco:train2017/000000000013.jpg"]
    assert record.label == "dog"  # two dogs and a car
    assert record.license == "CC-BY-2.0"
    assert record.download is not None
    assert record.download.address == f"{host.address}/train2017/000000000013.jpg"
    unlabeled = found["coco:train2017/000000000010.jpg"]
    assert (unlabeled.label, unlabeled.license) == ("", "No known restrictions")
    assert host.asked == {"/annotations/annotations_trainval2017.zip": 1}


def test_label_of_as_many_objects_is_the_lowest_category(tmp_path: Path, checkout: Project) -> None:
    told = coco_annotations(2)
    told["annotations"] = [{"image_id": 1, "category_id": number} for number in (18, 3, 18, 3)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(told))
    labels = [record.label for record in open_coco(checkout, annotations=str(path)).records()]
    assert labels == ["", "car"]


def test_a_draw_is_stable_and_a_larger_one_keeps_it(checkout: Project, annotations: Path) -> None:
    def urls(**source: object) -> list[str]:
        opened = open_coco(checkout, annotations=str(annotations), **source)
        return [record.url for record in opened.records()]

    assert urls(images=5) == urls(images=5)
    assert len(urls(images=5)) == 5
    assert set(urls(images=5)) < set(urls(images=9))
    assert urls(images=5) != urls(images=5, salt="other")
    assert len(urls(images=50)) == 20


@given(st.lists(st.text(max_size=5), unique=True, max_size=30), st.integers(0, 31))
def test_a_draw_keeps_the_order_of_what_it_draws(items: list[str], images: int) -> None:
    source = Settings.model_validate({"source": {"images": images}}).source
    drawn = draw(iter(items), str, source)
    assert len(drawn) == min(images or len(items), len(items))
    assert drawn == [item for item in items if item in drawn]


def test_categories_by_name(checkout: Project, annotations: Path) -> None:
    source = open_coco(checkout, annotations=str(annotations), categories=["dog"])
    assert source.total == 18
    with pytest.raises(DataError, match=r"source\.categories.*dgo.*did you mean dog"):
        open_coco(checkout, annotations=str(annotations), categories=["dgo"])


def pack(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(19):
            archive.writestr(f"train2017/{number:012d}.jpg", photograph(number))
    return path


def unpack(path: Path) -> Path:
    path.mkdir()
    with zipfile.ZipFile(pack(path / "a.zip")) as archive:
        archive.extractall(path)
    return path


@pytest.mark.parametrize("make", [pack, unpack])
def test_archives_and_folders_on_disk(
    checkout: Project, tmp_path: Path, annotations: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / "train2017.zip")
    source = open_coco(checkout, archive=str(path), annotations=str(annotations))
    read: list[bytes | str] = []
    for record in source.records():
        assert record.download is None
        try:
            read.append(record.read())
        except UnreadableError as error:
            read.append(str(error))
    assert read[:19] == [photograph(number) for number in range(19)]
    assert isinstance(read[19], str)
    assert "000000000019.jpg" in read[19] or "No such file" in read[19]


def test_the_published_layout_has_its_annotations_beside(checkout: Project, tmp_path: Path) -> None:
    (tmp_path / "coco/annotations").mkdir(parents=True)
    (tmp_path / "coco/val2017").mkdir()
    path = tmp_path / "coco/annotations/instances_val2017.json"
    path.write_text(json.dumps(coco_annotations(3)))
    (tmp_path / "coco/val2017/000000000001.jpg").write_bytes(photograph(1))
    source = open_coco(checkout, archive=str(tmp_path / "coco"), subset="val2017")
    assert [r.url for r in source.records()][1] == "coco:val2017/000000000001.jpg"
    assert list(source.records())[1].read() == photograph(1)


def test_names_that_lead_elsewhere_and_twins_are_passed_over(
    checkout: Project, tmp_path: Path
) -> None:
    told = coco_annotations(3)
    names = ["../000.jpg", "a/b.jpg", "c\\d.jpg", "", "000000000000.jpg", None, 7]
    told["images"] += [{"id": 90 + at, "file_name": name} for at, name in enumerate(names)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(told))
    source = open_coco(checkout, annotations=str(path))
    assert (source.total, source.skipped) == (3, 7)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "broken"),
        (b"{", "broken"),
        (b'{"images": [{"id": 1, "file_name": "a.jpg"}, {"id"', "broken"),
        (b"\xff\xfe\x00", "broken"),
        (b"[]", "lists no images"),
        (b'{"images": {}}', "lists no images"),
        (b'{"images": [1, [2], "a", null]}', "lists no images"),
    ],
)
def test_broken_annotations_are_named(
    checkout: Project, tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        open_coco(checkout, annotations=str(path))
    assert "a.json" in caught.value.problem
    assert "source.annotations=PATH" in caught.value.remedy


def test_what_is_not_there_is_named(checkout: Project, tmp_path: Path, annotations: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json cannot be read"):
        open_coco(checkout, annotations="none.json")
    with pytest.raises(DataError, match=r"source\.archive = none\.zip does not exist"):
        open_coco(checkout, annotations=str(annotations), archive="none.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("captions.json", "{}")
    with pytest.raises(DataError, match=r"holds no image_info_train2017\.json or instances"):
        open_coco(checkout, annotations=str(tmp_path / "other.zip"))


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("A", "http://creativecommons.org/licenses/by-nc-sa/2.0/", "CC-BY-NC-SA-2.0"),
        ("A", "https://creativecommons.org/licenses/by/4.0", "CC-BY-4.0"),
        (
            "No known",
            "http://flickr.com/commons/usage/",
            "No known (http://flickr.com/commons/usage/)",
        ),
        ("Mine", "", "Mine"),
    ],
)
def test_licenses_have_their_short_names(
    checkout: Project, tmp_path: Path, name: str, url: str, expected: str
) -> None:
    told = coco_annotations(2)
    told["licenses"] = [{"id": number, "name": name, "url": url} for number in (1, 4)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(told))
    records = open_coco(checkout, annotations=str(path)).records()
    assert {record.license for record in records} == {expected}


def test_broken_annotations_that_were_fetched_are_to_be_fetched_anew(
    checkout: Project, host: Host
) -> None:
    host.files["/annotations/annotations_trainval2017.zip"] = b'{"images": [{"id": 1,'
    with pytest.raises(DataError, match=r"is broken: parse error: premature EOF\.\n") as caught:
        open_coco(checkout, address=host.address)
    assert caught.value.remedy.startswith(f"rm {checkout.state / 'downloads'}")
