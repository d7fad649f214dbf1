"""Work on a video that was stopped goes on, is done once, and only where it is the same."""

import errno
import fcntl
from pathlib import Path

import pytest

from chromaflow.colorize.video import colorize_video, propagate, segments
from chromaflow.colorize.write import StorageError
from chromaflow.errors import ServerError
from tests.support.clips import colored, pan, write_clip


class Stops(Exception):  # noqa: N818
    """Stands for a kill: nothing that is caught."""


@pytest.fixture
def short_spans(monkeypatch):
    monkeypatch.setattr(propagate, "LONGEST", 4)
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 6)


def stopped_after(model, calls):
    predict = model.predict_ab

    def predict_ab(lightness, guide=None):
        if len(model.shapes) == calls:
            raise Stops
        return predict(lightness, guide) if guide else predict(lightness)

    model.predict_ab = predict_ab
    return predict


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tint, tmp_path, out, short_spans):
    clip = write_clip(tmp_path / "clip.mp4", pan(count=26), sound="aac")
    whole = colorize_video(tint, clip, tmp_path / "whole", size=64)
    asked = len(tint.shapes)
    assert asked == 1 + 8  # the probe, every 4th frame and the last one
    tint.shapes.clear()
    predict = stopped_after(tint, 1 + 5)
    with pytest.raises(Stops):
        colorize_video(tint, clip, out, size=64)
    (kept,) = out.iterdir()
    assert [path.name for path in sorted(kept.glob("*-*.nut"))] == ["000000000-000000008.nut"]
    tint.predict_ab = predict
    tint.shapes.clear()
    result, _, _ = colored(tint, clip, out)
    assert len(tint.shapes) == asked - 2
    assert Path(result["target"]).read_bytes() == Path(whole["target"]).read_bytes()


@pytest.mark.parametrize("change", ["model", "source", "size"])
def test_other_work_is_not_reused(tint, tmp_path, out, short_spans, change):
    clip = write_clip(tmp_path / "clip.mp4", pan(count=26))
    predict = stopped_after(tint, 1 + 5)
    with pytest.raises(Stops):
        colorize_video(tint, clip, out, size=64)
    tint.predict_ab = predict
    tint.shapes.clear()
    if change == "model":
        tint.strength = 0.5
    elif change == "source":
        write_clip(clip, pan("cat", count=26))
    colorize_video(tint, clip, out, size=80 if change == "size" else 64)
    assert len(tint.shapes) == 1 + 8


def test_one_process_at_a_time(tint, clip, out):
    folder = out / ".clip-color.mp4.segments"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServerError, match="another process is coloring"):
            colorize_video(tint, clip, out, size=64)


@pytest.mark.parametrize("full_after", [0, 3000])
def test_a_full_disk_is_told_and_what_is_done_stays(
    tint, clip, out, monkeypatch, short_spans, full_after
):
    write = segments.write_segment

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            if self.file.tell() + len(data) > full_after:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr(segments, "write_segment", lambda file, *rest: write(Full(file), *rest))
    with pytest.raises(StorageError, match="No space left"):
        colorize_video(tint, clip, out, size=64)
    (folder,) = out.iterdir()
    assert not list(folder.glob("*.nut"))
    monkeypatch.setattr(segments, "write_segment", write)
    colored(tint, clip, out)
