import hashlib
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chromaflow.project import files


def test_sha256_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"grey" * 100_000)
    assert files.sha256_of(path) == hashlib.sha256(b"grey" * 100_000).hexdigest()


def test_the_digest_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    def digest(**contents: str) -> str:
        folder = tmp_path / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in contents.items():
            (folder / name).write_text(text)
        return files.digest_of_folder(folder)

    assert digest(a="1", b="2") == digest(b="2", a="1")
    assert len({digest(a="1"), digest(b="1"), digest(a="2"), digest(a="1", b="")}) == 4


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_written_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    files.write_text(tmp_path / "sub" / "atomic", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "sub/atomic")]
    assert modes[0] == modes[1]


def test_threads_leave_the_permissions_of_new_files_alone(tmp_path: Path) -> None:
    def write(number: int) -> set[int]:
        paths = [tmp_path / f"{number}-{turn}" for turn in range(30)]
        for path in paths:
            files.write_text(path, "x")
        return {stat.S_IMODE(path.stat().st_mode) for path in paths}

    (tmp_path / "before").write_text("")
    with ThreadPoolExecutor(8) as pool:
        modes = set().union(*pool.map(write, range(8)))
    (tmp_path / "after").write_text("")
    plain = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("before", "after")}
    assert modes == plain
    assert len(plain) == 1


def test_a_replaced_file_does_not_change_what_is_linked_to_it(tmp_path: Path) -> None:
    cache, link = tmp_path / "cache", tmp_path / "link"
    cache.write_text("cached")
    link.hardlink_to(cache)
    files.write_text(link, "new")
    assert cache.read_text() == "cached"


def test_equal_values_give_equal_json(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a", {"x": 1, "y": [2.5, "é"]})
    files.write_json(tmp_path / "b", {"y": [2.5, "é"], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a", float("nan"))


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with files.atomic_folder(folder) as new:
        (new / "a").write_text("1")
    with pytest.raises(RuntimeError), files.atomic_folder(folder) as new:
        (new / "a").write_text("2")
        raise RuntimeError
    assert (folder / "a").read_text() == "1"
    with files.atomic_folder(folder) as new:
        (new / "b").write_text("3")
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
