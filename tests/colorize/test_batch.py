import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chromaflow.colorize import batch as folder_module
from chromaflow.colorize.batch import Summary, colorize_many
from chromaflow.colorize.photo import colorize_photo
from chromaflow.colorize.predictor import Predictor
from chromaflow.colorize.write import StorageError
from chromaflow.errors import ModelError, UserError
from tests.support.models import TintModel


@pytest.fixture
def album(tmp_path: Path) -> Path:
    grey = np.random.default_rng(12).integers(0, 256, (40, 50), dtype=np.uint8)
    for name in ("a.png", "one/b.jpg", "one/two/c.tif", "one/d.gif"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(path)
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    (tmp_path / "album" / ".hidden.png").write_text("no picture")
    return tmp_path / "album"


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


COLORED = ["a-color.png", "one/b-color.jpg", "one/d-color.png", "one/two/c-color.tif"]


def test_a_folder_is_mirrored_and_a_second_run_replaces_its_own_outputs(
    tmp_path: Path, album: Path, tint: Predictor
) -> None:
    for _ in range(2):
        assert colorize_many(tint, [album], tmp_path / "out.v1") == Summary(done=4)
        assert _names(tmp_path / "out.v1") == COLORED


def test_outputs_inside_the_source_are_not_colored_again(album: Path, tint: Predictor) -> None:
    for _ in range(2):
        summary = colorize_many(tint, [album], album / "colored")
        assert summary == Summary(done=4)
        assert _names(album / "colored") == COLORED
    (album / "a.png").unlink()
    assert colorize_many(tint, [album], album / "colored").done == 3
    assert _names(album / "colored") == COLORED


def test_outputs_beside_the_photographs_are_neither_colored_nor_replaced(
    album: Path, tint: Predictor
) -> None:
    assert colorize_many(tint, [album], album) == Summary(done=4)
    files = _names(album)
    again = colorize_many(tint, [album], album)
    assert again.done == 0
    assert len(again.failed) == 4
    assert all("exists already" in failure["reason"] for failure in again.failed)
    assert colorize_many(tint, [album], album, overwrite=True) == Summary(done=4)
    assert _names(album) == files


def test_it_goes_on_past_what_is_bad_and_names_it(
    tmp_path: Path, album: Path, tint: Predictor
) -> None:
    (album / "one" / "bad.jpg").write_bytes(b"no picture at all")
    (album / "zero.png").touch()
    (tmp_path / "bare").mkdir()
    sources = [tmp_path / "missing.jpg", tmp_path / "bare", album]
    summary = colorize_many(tint, sources, tmp_path / "out")
    assert summary.done == 4
    reasons = {failure["file"]: failure["reason"] for failure in summary.failed}
    assert reasons.keys() == {
        str(path) for path in (*sources[:2], album / "one" / "bad.jpg", album / "zero.png")
    }
    # The file stands beside its reason already.
    assert not any(path in reason for path, reason in reasons.items() if path.endswith("g"))
    assert "holds no photographs" in reasons[str(tmp_path / "bare")]
    assert _names(tmp_path / "out") == COLORED


def test_an_unreadable_folder_is_named(
    tmp_path: Path, album: Path, tint: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: Path) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("two"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    summary = colorize_many(tint, [album], tmp_path / "out")
    assert summary.done == 3
    (failure,) = summary.failed
    assert failure == {
        "file": str(album / "one" / "two"),
        "reason": "cannot be read: Permission denied.",
    }


def test_two_photographs_never_share_an_output(
    tmp_path: Path, album: Path, tint: Predictor
) -> None:
    Image.open(album / "a.png").save(album / "a.gif")
    summary = colorize_many(tint, [album, album / "a.png"], tmp_path / "out")
    assert summary.done == 4
    assert summary.failed == [
        {
            "file": str(album / "a.png"),
            "reason": f"{tmp_path / 'out' / 'a-color.png'} is already the output of "
            f"{album / 'a.gif'}; rename one of them.",
        }
    ]


def test_a_full_disk_stops_it_and_counts_what_is_done(
    tmp_path: Path, album: Path, tint: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fill(predictor: Predictor, source: Path, target: Path, **how: Any) -> dict[str, Any]:
        calls.append(source)
        if len(calls) == 3:
            raise StorageError("The disk is full.", "make room")
        return colorize_photo(predictor, source, target, **how)

    monkeypatch.setattr(folder_module, "colorize_photo", fill)
    with pytest.raises(StorageError, match=r"full. 2 of 4 photographs were already colored"):
        colorize_many(tint, [album], tmp_path / "out")


def test_faults_that_hold_for_every_photograph_stop_it(
    tmp_path: Path, album: Path, tint: Predictor
) -> None:
    with pytest.raises(UserError, match="is a file"):
        colorize_many(tint, [album], album / "a.png")
    assert isinstance(tint.model, TintModel)
    tint.model.strength = float("nan")
    with pytest.raises(ModelError):
        colorize_many(tint, [album], tmp_path / "out")


def test_progress_counts_every_photograph(tmp_path: Path, album: Path, tint: Predictor) -> None:
    seen: list[object] = []

    @contextlib.contextmanager
    def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        seen.append((description, total))
        yield seen.append

    (album / "zero.png").touch()
    colorize_many(tint, [album], tmp_path / "out", progress=progress)
    assert seen == [("Coloring", 5), 1, 1, 1, 1, 1]


def test_photographs_that_were_in_color_are_counted(tmp_path: Path, tint: Predictor) -> None:
    rgb = np.random.default_rng(13).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    summary = colorize_many(tint, [tmp_path / "a.png"], tmp_path / "out")
    assert summary == Summary(done=1, were_colored=1)


def test_what_could_not_be_kept_of_a_photograph_is_noted(tmp_path: Path, tint: Predictor) -> None:
    deep = np.full((20, 30, 3), 30000, ">u2")
    (tmp_path / "deep.ppm").write_bytes(b"P6 30 20 65535\n" + deep.tobytes())
    summary = colorize_many(tint, [tmp_path / "deep.ppm"], tmp_path / "out")
    note = {"file": str(tmp_path / "deep.ppm"), "note": "its 16 bits were read as 8"}
    assert summary.notes == [note]
