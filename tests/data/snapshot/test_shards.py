import hashlib
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chromaflow.data.snapshot.shards import Member, Shard, StoredImages, write_shard
from chromaflow.errors import DataError
from tests.support.snapshots import members_of

MEMBERS = st.lists(
    st.builds(
        Member,
        key=st.text("0123456789abcdef", min_size=16, max_size=16),
        extension=st.sampled_from([".jpg", ".png"]),
        data=st.binary(max_size=2000),
        facts=st.dictionaries(st.sampled_from(["url", "label"]), st.text(max_size=20)),
    ),
    unique_by=lambda member: member.key,
    max_size=5,
)


@given(MEMBERS)
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, members: list[Member]
) -> None:
    path = tmp_path_factory.mktemp("shard") / "000000.tar"
    write_shard(path, members)
    assert members_of(path) == members
    with StoredImages(path.parent) as stored:
        for member in reversed(members):
            digest = hashlib.sha256(member.data).hexdigest()
            assert stored.read(path.name, member.key, digest) == member.data


def test_headers_tell_nothing_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "000000.tar"
    write_shard(path, iter([Member("00ff", ".jpg", b"pixels", {"id": "00ff"})]))
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["00ff.jpg", "00ff.json"]
        for header in archive:
            assert (header.mtime, header.uid, header.gid) == (0, 0, 0)
            assert (header.uname, header.gname, header.mode) == ("", "", 0o644)
    before = path.read_bytes()
    write_shard(path, [Member("00ff", ".jpg", b"pixels", {"id": "00ff"})])
    assert path.read_bytes() == before


def test_an_exception_of_the_source_leaves_no_shard(tmp_path: Path) -> None:
    def members() -> Iterator[Member]:
        yield Member("00", ".jpg", b"pixels", {})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "000000.tar", members())
    assert list(tmp_path.iterdir()) == []


def link(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        header = tarfile.TarInfo("00.jpg")
        header.type, header.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(header)


def truncated(path: Path) -> None:
    write_shard(path, [Member("00", ".jpg", b"pixels" * 500, {})])
    path.write_bytes(path.read_bytes()[:1500])


DIGEST = hashlib.sha256(b"pixels").hexdigest()


def test_the_first_folder_that_holds_a_shard_counts(tmp_path: Path) -> None:
    shards = (("b", "0.tar", b"pixels"), ("a", "1.tar", b"pixels"), ("b", "1.tar", b"others"))
    for folder, name, data in shards:
        write_shard(tmp_path / folder / name, [Member("00", ".jpg", data, {})])
    with StoredImages(tmp_path / "a", tmp_path / "b") as stored:
        assert stored.read("0.tar", "00", DIGEST) == b"pixels"
        assert stored.read("1.tar", "00", DIGEST) == b"pixels"


@pytest.mark.parametrize(
    "make",
    [
        link,
        truncated,
        lambda path: path.write_bytes(b"x"),
        Path.exists,
        lambda path: write_shard(path, [Member("01", ".jpg", b"pixels", {})]),
        lambda path: write_shard(path, [Member("00", ".jpg", b"others", {})]),
    ],
    ids=["link", "truncated", "no archive", "missing", "other image", "other bytes"],
)
def test_an_image_that_cannot_be_read_names_its_shard(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "000000.tar")
    with (
        StoredImages(tmp_path) as stored,
        pytest.raises(DataError, match=r"000000\.tar") as caught,
    ):
        stored.read("000000.tar", "00", DIGEST)
    assert "dvc checkout" in caught.value.remedy


def test_a_shard_that_leads_out_of_the_snapshot_is_not_opened(tmp_path: Path) -> None:
    write_shard(tmp_path / "secret.tar", [Member("00", ".jpg", b"pixels", {})])
    for name in ("../secret.tar", str(tmp_path / "secret.tar")):
        with StoredImages(tmp_path / "raw") as stored, pytest.raises(DataError, match="secret"):
            stored.read(name, "00", DIGEST)


def test_headers_behind_the_image_are_not_read(tmp_path: Path) -> None:
    """So a few images at the front of a large shard cost as little as those of a small one."""
    path = tmp_path / "000000.tar"
    write_shard(path, [Member(key, ".jpg", b"pixels", {}) for key in ("00", "01", "02")])
    path.write_bytes(path.read_bytes()[: 6 * 512] + b"\xff" * 1024)
    with Shard(path) as shard:
        assert shard.read("01", DIGEST) == b"pixels"
        assert shard.read("00", DIGEST) == b"pixels"
        with pytest.raises(DataError, match=r"000000\.tar"):
            shard.read("02", DIGEST)
