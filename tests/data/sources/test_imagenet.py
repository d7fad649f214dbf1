import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chromaflow.data.sources.base import Source, UnreadableError, open_source
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.support.hosts import COMMIT, Host, hub, parquet
from tests.support.photographs import photograph

CASTLE, CHURCH, TENCH = "n02980441", "n03028079", "n01440764"


def open_(checkout: Project, **source: object) -> Source:
    settings = Settings.model_validate({"source": {"name": "imagenet", **source}})
    return open_source("imagenet", checkout, settings)


def told(source: Source) -> dict[str, tuple[str, bytes | str]]:
    """Label and bytes, or the reason, of every image."""
    found: dict[str, tuple[str, bytes | str]] = {}
    for record in source.records():
        assert "ImageNet" in record.license
        try:
            found[record.url] = record.label, record.read()
        except UnreadableError as error:
            found[record.url] = record.label, str(error)
    assert len(found) == source.total
    return found


def images() -> dict[str, dict[str, bytes]]:
    return {
        wnid: {f"{wnid}_{n}.JPEG": photograph(10 * at + n) for n in range(3)}
        for at, wnid in enumerate((TENCH, CASTLE, CHURCH))
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for wnid, files in images().items():
        (tmp_path / "imagenet/train" / wnid).mkdir(parents=True)
        for name, content in files.items():
            (tmp_path / "imagenet/train" / wnid / name).write_bytes(content)
    return tmp_path / "imagenet"


def test_folders_and_categories(checkout: Project, folder: Path) -> None:
    found = told(open_(checkout, archive=str(folder)))
    assert len(found) == 9
    url = f"imagenet:train/{CASTLE}/{CASTLE}_1.JPEG"
    assert found[url] == (CASTLE, images()[CASTLE][f"{CASTLE}_1.JPEG"])
    chosen = told(open_(checkout, archive=str(folder), categories=["castle", "place of worship"]))
    assert chosen == {key: value for key, value in found.items() if TENCH not in key}
    assert open_(checkout, archive=str(folder), images=4).total == 4


def test_folders_below_the_published_root_and_validation_by_its_table(
    checkout: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "k/ILSVRC/Data/CLS-LOC/val"
    folder.mkdir(parents=True)
    for number in (1, 2):
        (folder / f"ILSVRC2012_val_0000000{number}.JPEG").write_bytes(photograph(number))
    (tmp_path / "k/LOC_val_solution.csv").write_text(
        f"ImageId,PredictionString\nILSVRC2012_val_00000001,{CASTLE} 1 2 3 4\n"
        f"ILSVRC2012_val_00000002,{TENCH} 1 2 3 4 {TENCH} 5 6 7 8\n"
    )
    found = told(open_(checkout, archive=str(tmp_path / "k"), subset="validation"))
    assert [label for label, _ in found.values()] == [CASTLE, TENCH]
    only = told(open_(checkout, archive=str(tmp_path / "k"), subset="val", categories=["castle"]))
    assert list(only) == ["imagenet:val/ILSVRC2012_val_00000001.JPEG"]


def test_links_out_of_the_folder_are_named(checkout: Project, folder: Path) -> None:
    (folder / "train" / CASTLE / "x.JPEG").symlink_to("/etc/passwd")
    (folder / "train" / CHURCH / "notes.txt").write_text("no image")
    source = open_(checkout, archive=str(folder))
    assert told(source)[f"imagenet:train/{CASTLE}/x.JPEG"] == (CASTLE, "the file is a link")
    assert source.skipped == 1


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))


def pack(files: dict[str, bytes], extra: Callable[[tarfile.TarFile], None] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            add(archive, name, content)
        if extra:
            extra(archive)
    return buffer.getvalue()


def test_the_archive_of_archives_gives_what_the_folders_give(
    checkout: Project, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "ILSVRC2012_img_train.tar"
    path.write_bytes(pack({f"{wnid}.tar": pack(files) for wnid, files in images().items()}))
    from_tar = open_(checkout, archive=str(path))
    assert told(from_tar) == told(open_(checkout, archive=str(folder)))
    drawn = {"images": 4, "categories": ["castle", "church"]}
    assert told(open_(checkout, archive=str(path), **drawn)) == told(
        open_(checkout, archive=str(folder), **drawn)
    )


def test_the_archives_of_one_category_and_of_validation(checkout: Project, tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    path.write_bytes(pack(images()[CASTLE]))
    assert {label for label, _ in told(open_(checkout, archive=str(path))).values()} == {CASTLE}
    path.write_bytes(pack({"ILSVRC2012_val_00000001.JPEG": photograph(1)}))
    assert told(open_(checkout, archive=str(path))) == {
        "imagenet:val/ILSVRC2012_val_00000001.JPEG": ("", photograph(1))
    }


def test_hostile_members_are_named_and_the_rest_goes_on(checkout: Project, tmp_path: Path) -> None:
    def hostile(archive: tarfile.TarFile) -> None:
        for kind, name in ((tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "hard"), (b"6", "pipe")):
            header = tarfile.TarInfo(f"{CASTLE}_{name}.JPEG")
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
        add(archive, f"../../{CASTLE}_climb.JPEG", b"x")
        add(archive, f"/{CASTLE}_root.JPEG", b"x")
        add(archive, "readme.txt", b"x")

    outer = {f"{CASTLE}.tar": pack(images()[CASTLE], hostile), f"{CHURCH}.tar": b"\0" * 300 + b"x"}
    cut = pack(images()[TENCH])
    outer[f"{TENCH}.tar"] = cut[: cut.index(f"{TENCH}_2".encode()) + 700]
    path = tmp_path / "a.tar"
    path.write_bytes(pack(outer))
    source = open_(checkout, archive=str(path))
    reasons = {
        url.rpartition("/")[2]: reason
        for url, (_, reason) in told(source).items()
        if isinstance(reason, str)
    }
    assert reasons[f"{CASTLE}_link.JPEG"] == "the member is a link"
    assert reasons[f"{CASTLE}_hard.JPEG"] == "the member is a link"
    assert reasons[f"{CASTLE}_pipe.JPEG"] == "the member is not a regular file"
    assert reasons[f"{CASTLE}_climb.JPEG"] == "the member points outside the archive"
    assert reasons[f"{CASTLE}_root.JPEG"] == "the member points outside the archive"
    assert "broken" in reasons[f"imagenet:{CHURCH}.tar"]
    assert sum(isinstance(content, bytes) for _, content in told(source).values()) >= 5
    assert source.skipped == 1


def test_a_member_that_claims_to_be_huge_is_not_read(checkout: Project, tmp_path: Path) -> None:
    header = tarfile.TarInfo(f"{CASTLE}_0.JPEG")
    header.size = 2**40
    path = tmp_path / "a.tar"
    path.write_bytes(pack({f"{CASTLE}.tar": header.tobuf() + b"x" * 2000}))
    reasons = [reason for _, reason in told(open_(checkout, archive=str(path))).values()]
    assert "larger than 64 MiB" in str(reasons[0])
    assert "broken" in str(reasons[1])


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.write_bytes(b"no archive at all" * 90), "not a complete tar archive"),
        (lambda path: path.write_bytes(b""), "not a complete tar archive"),
        (lambda path: path.write_bytes(pack({"readme.txt": b""})), "holds no image"),
        (lambda path: path.mkdir(), "holds no folder train"),
        (str, "does not exist"),
    ],
)
def test_what_is_no_imagenet_is_named(
    checkout: Project, tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    path = tmp_path / "a.tar"
    make(path)
    with pytest.raises(DataError, match=problem) as caught:
        open_(checkout, archive=str(path))
    assert "source.archive" in caught.value.remedy


def gated(host: Host) -> str:
    rows = [
        {"image": {"bytes": photograph(n), "path": None}, "label": (0, 483, 497)[n % 3]}
        for n in range(60)
    ]
    files = {"data/train-00000-of-00001.parquet": parquet(rows, ["tench"] * 1000, 10)}
    return hub(host, "ILSVRC/imagenet-1k", files, "other")


def test_without_a_token_there_are_three_ways_out(checkout: Project, host: Host) -> None:
    with pytest.raises(DataError, match="there is no token") as caught:
        open_(checkout, address=gated(host))
    for way in ("HF_TOKEN", "source.archive=PATH", "--preset imagenet-mini"):
        assert way in caught.value.remedy
    assert not host.asked


def test_with_a_token_the_hub_gives_images_and_no_error_shows_it(
    checkout: Project, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = told(open_(checkout, address=gated(host), categories=["castle"], images=15))
    assert {label for label, _ in found.values()} == {CASTLE}
    assert len(found) == 15
    assert set(host.tokens) == {"Bearer hf_secret"}
    host.gated.add("imagenet-1k")
    with pytest.raises(DataError, match="may not be read with this token") as caught:
        open_(checkout, address=host.address)
    assert "source.archive=PATH" in caught.value.remedy
    assert "hf_secret" not in str(caught.value)
    assert COMMIT not in str(caught.value)
