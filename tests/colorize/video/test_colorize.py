"""Whole videos from file to file: what is kept, what is refused, what is not done twice."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import color

from chromaflow.colorize.batch import colorize_many
from chromaflow.colorize.hints import read_hints
from chromaflow.colorize.predictor import ColorOptions, Predictor
from chromaflow.colorize.video import colorize_video
from chromaflow.errors import DataError, ModelError, SettingsError, UserError
from chromaflow.models.networks.base import Hints
from tests.support.clips import (
    TIME_BASE,
    Pixels,
    colored,
    pan,
    read_clip,
    sound_packets,
    write_clip,
)
from tests.support.models import TintModel, predictor_of

UNEVEN = [0, 512, 1500, 1600, 5000, 5512, 6000, 7000, 7700, 8100, 8900, 9999]


def lightness(frames: Iterable[Pixels]) -> NDArray[np.float64]:
    return np.stack([color.rgb2lab(frame)[..., 0] for frame in frames])


def test_a_video_keeps_its_size_times_lightness_and_sound(
    tint: Predictor, clip: Path, out: Path
) -> None:
    result, frames, times = colored(tint, clip, out)
    before, times_before = read_clip(clip)
    assert result == {
        "source": str(clip),
        "target": str(out / "clip-color.mp4"),
        "width": 96,
        "height": 64,
        "frames": 12,
        "lost": 0,
        "was_colored": False,
        "notes": [],
    }
    assert frames.shape == before.shape == (12, 64, 96, 3)
    assert times == times_before
    assert sound_packets(out / "clip-color.mp4") == sound_packets(clip) != []
    assert np.abs(lightness(frames) - lightness(before)).mean() < 1.5
    assert np.ptp(frames.astype(int), axis=3).mean() > 10
    with av.open(str(out / "clip-color.mp4")) as container:
        assert container.streams.video[0].average_rate == 25
        assert "predicted" in container.metadata["comment"]


def test_without_color_nothing_changes(colorless: Predictor, clip: Path, out: Path) -> None:
    _, frames, _ = colored(colorless, clip, out)
    before, _ = read_clip(clip)
    assert np.abs(frames.astype(int) - before).mean() < 2.5
    assert np.ptp(frames.astype(int), axis=3).max() <= 2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_uneven_times_are_kept(tint: Predictor, tmp_path: Path, out: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"clip{suffix}", pan(), times=UNEVEN)
    _, _, times = colored(tint, clip, out)
    assert times == read_clip(clip)[1]
    if suffix != ".mkv":
        assert times == [time * TIME_BASE for time in UNEVEN]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "target"),
    [
        ("a.avi", "mpeg4", "yuv420p", "a-color.mp4"),
        ("a.webm", "libvpx-vp9", "yuv420p", "a-color.mp4"),
        ("a.ts", "mpeg2video", "yuv420p", "a-color.mp4"),
        ("a.mkv", "ffv1", "gray", "a-color.mkv"),
        ("a.mkv", "ffv1", "bgr0", "a-color.mkv"),
        ("a.mov", "libx264", "yuv422p10le", "a-color.mov"),
        ("a.mp4", "libx264", "yuvj420p", "a-color.mp4"),
    ],
)
def test_other_kinds(
    tint: Predictor, tmp_path: Path, out: Path, name: str, codec: str, pix_fmt: str, target: str
) -> None:
    clip = write_clip(tmp_path / name, pan(count=6), codec=codec, pix_fmt=pix_fmt)
    result, frames, times = colored(tint, clip, out)
    before, _ = read_clip(clip)
    assert Path(result["target"]).name == target
    assert result["lost"] == 0
    assert np.abs(lightness(frames) - lightness(before)).mean() < 2
    np.testing.assert_allclose(np.diff([float(t) for t in times]), 1 / 25, atol=1e-3)


@pytest.mark.parametrize("size", [(95, 64), (96, 63), (33, 47)])
def test_odd_sizes_are_kept(
    tint: Predictor, tmp_path: Path, out: Path, size: tuple[int, int]
) -> None:
    width, height = size
    shown = pan(count=5, width=width, height=height)
    clip = write_clip(tmp_path / "odd.mkv", shown, codec="ffv1", pix_fmt="bgr0")
    result, frames, _ = colored(tint, clip, out)
    assert frames.shape == (5, height, width, 3)
    assert "4:4:4" in result["notes"][0]
    assert np.abs(lightness(frames) - lightness(read_clip(clip)[0])).mean() < 1.5


def test_sound_that_cannot_be_held_is_encoded_anew(
    tint: Predictor, tmp_path: Path, out: Path
) -> None:
    clip = write_clip(tmp_path / "old.avi", pan(), sound="adpcm_ms", codec="mpeg4")
    result, _, _ = colored(tint, clip, out)
    assert "sound was re-encoded" in result["notes"][0]
    with av.open(result["target"]) as container:
        sound = container.streams.audio[0]
        assert sound.codec_context.name == "aac"
        assert float(sound.duration * sound.time_base) == pytest.approx(0.5, abs=0.05)


def rotated(clip: Path, target: Path) -> Path:
    """Ask players to turn an MP4 a quarter clockwise: the matrix of its track's header."""
    data = bytearray(clip.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    numbers = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = b"".join(n.to_bytes(4, "big", signed=True) for n in numbers)
    target.write_bytes(data)
    return target


def test_a_video_is_turned_upright(tint: Predictor, clip: Path, tmp_path: Path, out: Path) -> None:
    turned = rotated(clip, tmp_path / "turned.mp4")
    result, frames, _ = colored(tint, turned, out)
    assert (result["width"], result["height"]) == (64, 96)
    upright = np.rot90(read_clip(clip)[0], -1, axes=(1, 2))
    assert np.abs(lightness(frames) - lightness(upright)).mean() < 1.5
    assert isinstance(tint.model, TintModel)
    assert tint.model.shapes[-1][2:] == (96, 64)


def test_a_video_in_color_is_colored_anew_from_its_lightness(
    tint: Predictor, tmp_path: Path, out: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", pan(colored=True))
    result, frames, _ = colored(tint, clip, out)
    assert result["was_colored"]
    summary = colorize_many(tint, [clip], out)
    assert (summary.done, summary.were_colored, summary.notes) == (1, 1, [])
    assert np.abs(lightness(frames) - lightness(read_clip(clip)[0])).mean() < 2.5


def remuxed(clip: Path, target: Path, **options: str) -> Path:
    with av.open(str(clip)) as source, av.open(str(target), "w", options=options) as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return target


def cut(clip: Path, share: float) -> Path:
    data = clip.read_bytes()
    clip.write_bytes(data[: round(len(data) * share)])
    return clip


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
def test_a_broken_tail_costs_no_more_than_itself(
    tint: Predictor, tmp_path: Path, out: Path, name: str
) -> None:
    clip = write_clip(tmp_path / "clip.mkv", pan(count=30), rate=10, codec="mpeg4")
    if name == "clip.mp4":  # its table stands at its start, as on the web
        clip = remuxed(clip, tmp_path / name, movflags="faststart")
    result, frames, _ = colored(tint, cut(clip, 0.7), out)
    assert 2 < len(frames) < 20
    assert result["frames"] == len(frames)
    assert result["lost"] > 2
    assert "missing or damaged" in result["notes"][0]


def test_damage_in_the_middle_is_told(tint: Predictor, tmp_path: Path, out: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts", pan(count=20), codec="mpeg2video")
    data = bytearray(clip.read_bytes())
    spot = len(data) // 2
    data[spot : spot + 2000] = np.random.default_rng(0).bytes(2000)
    clip.write_bytes(data)
    result, frames, _ = colored(tint, clip, out)
    assert result["frames"] == len(frames) > 8


def test_what_is_no_video_is_refused_by_name(
    tint: Predictor, clip: Path, tmp_path: Path, out: Path
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video at all\n" * 50)
    playlist = tmp_path / "list.avi"
    playlist.write_text("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\nfile:///etc/passwd\n")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, reason in (
        (text, "not a supported video"),
        (playlist, "not a supported video"),
        (cut(clip, 0.6), "not a supported video"),  # its table stood at its end
        (empty, "no bytes"),
        (tmp_path / "missing.mp4", "cannot be read: No such file"),
        (tmp_path, "not a file"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            colorize_video(tint, path, out)
        assert str(path) in str(caught.value)
    assert not out.exists()


def test_a_video_without_frames_or_pictures_is_refused(
    tint: Predictor, tmp_path: Path, out: Path
) -> None:
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="holds no video"):
        colorize_video(tint, sound, out)
    bare = tmp_path / "bare.mkv"
    with av.open(str(bare), "w") as container:
        film = container.add_stream("ffv1", rate=25)
        film.width, film.height, film.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(DataError, match=r"bare\.mkv is not a supported video, or"):
        colorize_video(tint, bare, out)


def test_a_video_of_which_nothing_can_be_decoded_is_refused(
    tint: Predictor, tmp_path: Path, out: Path
) -> None:
    clip = write_clip(tmp_path / "clip.ts", pan(), codec="mpeg2video")
    clip = remuxed(clip, tmp_path / "clip.mp4", movflags="faststart")
    data = clip.read_bytes()
    clip.write_bytes(data[: data.index(b"mdat") + 20])
    with pytest.raises(DataError, match=r"clip\.mp4 has no frames that can be decoded"):
        colorize_video(tint, clip, out)


def test_a_changing_size_is_refused(tint: Predictor, tmp_path: Path, out: Path) -> None:
    first = write_clip(tmp_path / "a.ts", pan(), codec="mpeg2video")
    second = write_clip(tmp_path / "b.ts", pan(width=64), codec="mpeg2video")
    first.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(DataError, match=r"at frame 1\d from 96 × 64 to 64 × 64"):
        colorize_video(tint, first, out)
    assert list(out.iterdir()) == []


def test_a_large_video_is_refused_before_it_is_decoded(
    tint: Predictor, clip: Path, out: Path
) -> None:
    with pytest.raises(DataError, match=r"96 × 64 pixels, more than source.max_pixels = 6000"):
        colorize_video(tint, clip, out, max_pixels=6000)


def test_the_video_itself_and_files_of_others_are_never_replaced(
    tint: Predictor, clip: Path, out: Path
) -> None:
    before = clip.read_bytes()
    with pytest.raises(UserError, match="never overwritten"):
        colorize_video(tint, clip, clip, overwrite=True)
    beside = clip.with_name("clip-color.mp4")
    beside.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        colorize_video(tint, clip, clip.parent)
    with pytest.raises(UserError, match=r"cannot be written as \.gif"):
        colorize_video(tint, clip, out.with_suffix(".gif"))
    assert beside.read_text() == "mine"
    colorize_video(tint, clip, clip.parent, overwrite=True)
    assert beside.read_bytes()[4:8] == b"ftyp"
    assert clip.read_bytes() == before


def test_faults_of_the_model_leave_nothing(tint: Predictor, clip: Path, out: Path) -> None:
    assert isinstance(tint.model, TintModel)
    tint.model.strength = float("nan")
    with pytest.raises(ModelError, match="not numbers"):
        colorize_video(tint, clip, out)
    assert not list(out.glob("*.mp4"))


def test_points_tell_of_one_picture(clip: Path, tmp_path: Path, out: Path) -> None:
    class TakesHints(TintModel):
        guide = Hints

    predictor = predictor_of(TakesHints())
    points = tmp_path / "points.json"
    points.write_text('{"points": [{"x": 1, "y": 2, "color": "red"}]}')
    hints = read_hints(points)
    with pytest.raises(SettingsError, match="is a video"):
        colorize_video(predictor, clip, out, options=ColorOptions(hints=hints))


def test_videos_among_photographs(tint: Predictor, clip: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    (album / "below").mkdir(parents=True)
    clip.rename(album / "below" / "clip.mp4")
    (album / "bad.mkv").write_text("no video")
    whole = write_clip(album / "cut.mkv", pan(count=30), rate=10)
    cut(whole, 0.7)
    summary = colorize_many(tint, [album], album / "out")
    assert summary.done == 2
    assert [failure["file"] for failure in summary.failed] == [str(album / "bad.mkv")]
    assert [note["file"] for note in summary.notes] == [str(album / "cut.mkv")]
    made = sorted(str(path.relative_to(album)) for path in (album / "out").rglob("*.m*"))
    assert made == ["out/below/clip-color.mp4", "out/cut-color.mkv"]
    again = colorize_many(tint, [album], album / "out")
    assert again.done == 2


def test_progress_counts_frames(tint: Predictor, clip: Path, out: Path) -> None:
    seen: list[object] = []

    @contextlib.contextmanager
    def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        seen.append((description, total))
        yield seen.append

    colorize_video(tint, clip, out, progress=progress)
    assert seen == [("Coloring clip.mp4", 12), *[1] * 12]
