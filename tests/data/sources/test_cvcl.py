import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chromaflow.data.sources.base import Source, UnreadableError, open_source
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.support.hosts import Host, cvcl

NAMES = ("coast_nat1.jpg", "coast_nat2.jpg", "opencountry_land1.jpg", "street_bost1.jpg")


def pack(path: Path, members: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members or {f"scenes/{n}": n.encode() for n in NAMES}).items():
            archive.writestr(name, data)
    return path


def open_archive(path: Path | str, **source: object) -> Source:
    values = {"source": {"name": "cvcl", "archive": str(path), **source}}
    root = path.parent if isinstance(path, Path) else Path.cwd()
    return open_source("cvcl", Project(root), Settings.model_validate(values))


def test_photographs_with_their_category_as_label(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip")
    found = list((source := open_archive(path)).records())
    assert [(r.url, r.label, r.extension) for r in found] == [
        (f"cvcl:{name}", name.partition("_")[0], ".jpg") for name in NAMES
    ]
    assert source.total == 4
    assert all(record.license for record in found)


def test_bytes_are_the_members(tmp_path: Path) -> None:
    for record, name in zip(open_archive(pack(tmp_path / "a.zip")).records(), NAMES, strict=True):
        assert record.read() == name.encode()


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    members = {
        "s/coast_a.jpg": b"1",
        "s/readme.txt": b"2",
        "s/Thumbs.db": b"3",
        "__MACOSX/s/._coast_a.jpg": b"4",
        "s/plain.jpg": b"5",
    }
    source = open_archive(pack(tmp_path / "a.zip", members))
    assert (source.total, source.skipped) == (1, 4)


def test_categories_filter_and_unknown_ones_are_told_with_near_names(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip")
    source = open_archive(path, categories=["coast", "street"])
    assert {record.label for record in source.records()} == {"coast", "street"}
    with pytest.raises(DataError, match=r"source\.categories.*opencoutry.*opencountry"):
        open_archive(path, categories=["opencoutry"])


def link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("s/coast_a.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("s/coast_a.jpg", bytes(5_000_000))


def twice(path: Path) -> None:
    pack(path, {"s/coast_a.jpg": b"1", "t/coast_a.jpg": b"2"})


def truncated(path: Path) -> None:
    pack(path)
    path.write_bytes(path.read_bytes()[:-40])


def overlapping(path: Path) -> None:
    pack(path, {"s/coast_a.jpg": bytes(1000), "s/coast_b.jpg": bytes(1000)})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = bytes(4)  # its content starts where the first one's does
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: pack(path, {"../coast_a.jpg": b""}), "points outside"),
        (lambda path: pack(path, {"s/../../coast_a.jpg": b""}), "points outside"),
        (lambda path: pack(path, {"/coast_a.jpg": b""}), "points outside"),
        (lambda path: pack(path, {"s\\..\\coast_a.jpg": b""}), "points outside"),
        (lambda path: pack(path, {"C:coast_a.jpg": b""}), "points outside"),
        (link, "is a link"),
        (bomb, "unpacks to more than"),
        (twice, "twice"),
        (truncated, "not a complete zip archive"),
        (lambda path: path.write_bytes(b"Rar!"), "not a complete zip archive"),
        (lambda path: path.write_bytes(b""), "not a complete zip archive"),
        (lambda path: path.mkdir(), "cannot be read"),
        (str, "cannot be read"),  # nothing is there
        (lambda path: pack(path, {"s/readme.txt": b""}), "holds no"),
    ],
)
def test_hostile_and_broken_archives_are_refused(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    path = tmp_path / "a.zip"
    make(path)
    with pytest.raises(DataError, match=problem) as caught:
        open_archive(path)
    assert "a.zip" in caught.value.problem
    assert "source.archive=PATH" in caught.value.remedy


def test_without_an_archive_it_is_fetched_once(
    checkout: Project, tmp_path: Path, host: Host
) -> None:
    names = ["coast_a", "coast_b", *(f"opencountry_{n}" for n in range(3))]
    content = pack(tmp_path / "a.zip", {f"s/{name}.jpg": b"x" for name in names}).read_bytes()
    own = {"name": "cvcl", "address": cvcl(host, content)}
    values = {"source": own, "download": {"reserve": "1B"}}
    for _ in range(2):
        source = open_source("cvcl", checkout, Settings.model_validate(values))
        found = list(source.records())
        assert [record.label for record in found] == ["coast"] * 2 + ["opencountry"] * 3
    assert list(host.asked.values()) == [1]


def test_an_archive_that_the_server_does_not_have_is_named(checkout: Project, host: Host) -> None:
    own = {"name": "cvcl", "address": f"{host.address}/gone.zip"}
    values = {"source": own, "download": {"reserve": "1B", "retries": 0}}
    with pytest.raises(DataError, match=r"gone\.zip.*404") as caught:
        open_source("cvcl", checkout, Settings.model_validate(values))
    assert "source.archive=PATH" in caught.value.remedy


def test_members_that_lie_or_are_broken_are_unreadable_alone(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {f"s/coast_{i}.jpg": bytes([i]) * 1000 for i in range(4)})
    data = bytearray(path.read_bytes())
    data[data.index(b"\x01" * 900)] ^= 0xFF  # a flipped bit
    directory = [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]
    lying = directory[2] + 20
    data[lying : lying + 8] = (500).to_bytes(4, "little") * 2  # half of its true size
    data[directory[3] + 8] |= 1  # said to be encrypted
    path.write_bytes(data)
    outcomes: list[int | str] = []
    for record in open_archive(path).records():
        try:
            outcomes.append(len(record.read()))
        except UnreadableError as error:
            outcomes.append(str(error))
    assert outcomes[0] == 1000
    assert all("does not unpack" in str(outcome) for outcome in outcomes[1:])


def test_members_that_overlap_are_refused_or_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    overlapping(path)
    try:
        records = list(open_archive(path).records())
    except DataError:
        return
    with pytest.raises(UnreadableError):
        records[1].read()
