"""Work on a video that was stopped goes on, is done once, and only where it is the same."""

import errno
import fcntl
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import torch
from torch import Tensor

from chromaflow.colorize.hints import UserHints
from chromaflow.colorize.predictor import ColorOptions, Predictor
from chromaflow.colorize.video import colorize_video, propagate, segments
from chromaflow.colorize.video.propagate import Colored
from chromaflow.colorize.video.read import Video
from chromaflow.colorize.video.write import write_segment
from chromaflow.colorize.write import StorageError
from chromaflow.errors import ServerError
from chromaflow.models.networks.base import Guide, Hints
from tests.support.clips import colored, pan, write_clip
from tests.support.models import TintModel, predictor_of


class Stops(Exception):  # noqa: N818
    """Stands for a kill: nothing that is caught."""


@pytest.fixture
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagate, "LONGEST", 4)
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 6)


class StoppingModel(TintModel):
    """Stops everything after so many predictions; None: never."""

    calls: int | None = None

    def predict_ab(
        self, lightness: Tensor, guide: Guide | None = None, *, refine: str | None = None
    ) -> Tensor:
        if len(self.shapes) == self.calls:
            raise Stops
        return super().predict_ab(lightness, guide, refine=refine)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    tmp_path: Path, out: Path, short_spans: None
) -> None:
    model = StoppingModel()
    predictor = predictor_of(model)
    clip = write_clip(tmp_path / "clip.mp4", pan(count=26), sound="aac")
    whole = colorize_video(predictor, clip, tmp_path / "whole")
    assert len(model.shapes) == 8  # every 4th frame and the last one
    model.shapes.clear()
    model.calls = 5
    with pytest.raises(Stops):
        colorize_video(predictor, clip, out)
    (kept,) = out.iterdir()
    assert [path.name for path in sorted(kept.glob("*-*.nut"))] == ["000000000-000000008.nut"]
    model.calls = None
    model.shapes.clear()
    result, _, _ = colored(predictor, clip, out)
    assert len(model.shapes) == 8 - 2
    assert Path(result["target"]).read_bytes() == Path(whole["target"]).read_bytes()


@pytest.mark.parametrize("change", ["nothing", "model", "source", "size", "refine", "hints", "key"])
def test_only_the_same_work_is_reused(
    tmp_path: Path, out: Path, short_spans: None, change: str
) -> None:
    model = StoppingModel()
    model.guide = Hints
    model.calls = 5
    predictor, key, hints = predictor_of(model), None, UserHints(torch.zeros(316))
    clip = write_clip(tmp_path / "clip.mp4", pan(count=26))
    with pytest.raises(Stops):
        colorize_video(predictor, clip, out, options=ColorOptions(hints=hints))
    model.calls = None
    model.shapes.clear()
    options = ColorOptions(hints=hints)
    if change == "model":
        predictor = predictor_of(model, digest="1" * 64)
    elif change == "key":
        key = predictor_of(model, digest="1" * 64)
    elif change == "source":
        write_clip(clip, pan("cat", count=26))
    elif change == "size":
        options = ColorOptions(size=80, hints=hints)
    elif change == "refine":
        options = ColorOptions(refine="guided", hints=hints)
    elif change == "hints":
        options = ColorOptions(hints=UserHints(torch.ones(316)))
    colorize_video(predictor, clip, out, key_predictor=key, options=options)
    assert len(model.shapes) == (6 if change == "nothing" else 8)


def test_one_process_at_a_time(tint: Predictor, clip: Path, out: Path) -> None:
    folder = out / ".clip-color.mp4.segments"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServerError, match="another process is coloring"):
            colorize_video(tint, clip, out)


@pytest.mark.parametrize("full_after", [0, 3000])
def test_a_full_disk_is_told_and_what_is_done_stays(
    tint: Predictor,
    clip: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    short_spans: None,
    full_after: int,
) -> None:
    class Full:
        def __init__(self, file: BinaryIO) -> None:
            self.file = file

        def write(self, data: bytes) -> int:
            if self.file.tell() + len(data) > full_after:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    def write_full(file: BinaryIO, video: Video, frames: Iterable[Colored]) -> None:
        write_segment(cast(BinaryIO, Full(file)), video, frames)

    monkeypatch.setattr(segments, "write_segment", write_full)
    with pytest.raises(StorageError, match="No space left"):
        colorize_video(tint, clip, out)
    (folder,) = out.iterdir()
    assert not list(folder.glob("*.nut"))
    monkeypatch.setattr(segments, "write_segment", write_segment)
    colored(tint, clip, out)
