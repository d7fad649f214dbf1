import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chromaflow.errors import DataError
from chromaflow.sources.shards import Member, read_shard, write_shard

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
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, members: list) -> None:
    path = tmp_path_factory.mktemp("shard") / "000000.tar"
    write_shard(path, members)
    assert list(read_shard(path)) == members


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
    def members():
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


def no_facts(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        header = tarfile.TarInfo("00.jpg")
        header.size = 3
        archive.addfile(header, io.BytesIO(b"abc"))


def truncated(path: Path) -> None:
    write_shard(path, [Member("00", ".jpg", b"pixels" * 500, {})])
    path.write_bytes(path.read_bytes()[:1500])


@pytest.mark.parametrize("make", [link, no_facts, truncated, lambda path: path.write_bytes(b"x")])
def test_broken_and_hostile_shards_are_named(tmp_path: Path, make) -> None:
    path = tmp_path / "000000.tar"
    make(path)
    with pytest.raises(DataError, match=r"000000\.tar"):
        list(read_shard(path))
