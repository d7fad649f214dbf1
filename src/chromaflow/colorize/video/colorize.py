"""One video from a file to a file."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from chromaflow import __version__, console
from chromaflow.colorize.photo import choose_output
from chromaflow.colorize.predictor import DEFAULTS, ColorOptions, Predictor
from chromaflow.colorize.video.mux import FORMAT_OF_SUFFIX, join
from chromaflow.colorize.video.propagate import LONGEST, Propagation
from chromaflow.colorize.video.read import Frame, Video, describe, frames
from chromaflow.colorize.video.scenes import with_ends
from chromaflow.colorize.video.segments import SEGMENT_FRAMES, Work, work_for
from chromaflow.colorize.video.write import ENCODING, chroma_divisor
from chromaflow.colorize.write import storing
from chromaflow.errors import SettingsError
from chromaflow.project import files
from chromaflow.settings.sources import MAX_PIXELS


def video_output_in(folder: Path, source: Path) -> Path:
    """`<stem>-color` in a folder, with the video's suffix, or .mp4 where that holds no H.264."""
    suffix = source.suffix if source.suffix.lower() in FORMAT_OF_SUFFIX else ".mp4"
    return folder / f"{source.stem}-color{suffix}"


def _fingerprint(
    video: Video, predictor: Predictor, key_predictor: Predictor | None, options: ColorOptions
) -> dict[str, Any]:
    """All that decides the colored frames."""
    hints = options.hints.global_hints.numpy().tobytes() if options.hints else b""
    return {
        "source": files.sha256_of(video.path),
        "models": [one.digest for one in (predictor, key_predictor) if one is not None],
        "size": predictor.size_for(options),
        "refine": options.refine,
        "hints": hashlib.sha256(hints).hexdigest(),
        "encoding": ENCODING,
        "spans": [LONGEST, SEGMENT_FRAMES],
        "versions": [__version__, av.__version__],
    }


def _color(
    video: Video,
    work: Work,
    propagation: Propagation,
    advance: console.Advance,
) -> None:
    done = work.done()

    def remaining() -> Iterator[tuple[Frame, bool]]:
        for frame, ends in with_ends(frames(video)):
            if frame.index >= done:
                yield frame, ends
            advance(1)

    work.add(video, propagation.color(remaining()))


def colorize_video(
    predictor: Predictor,
    source: Path,
    target: Path,
    *,
    key_predictor: Predictor | None = None,
    options: ColorOptions = DEFAULTS,
    max_pixels: int = MAX_PIXELS,
    overwrite: bool = False,
    progress: console.Progress = console.progress,
) -> dict[str, Any]:
    """Color a video, keeping its size, the time of each frame, its L and its sound.

    The model colors the first and last frame of each shot and some between; the colors of the other
    frames are carried there from both sides. What was done before a kill is not done again, where
    video, model and settings are the same.

    Args:
        predictor: Colors it. A model that takes a reference also colors the frames between key
            frames, looking at these.
        source: A video of any usual kind. It is turned upright as it asks.
        target: A file whose suffix chooses the kind, or a folder, which gets
            `<stem>-color.<suffix>`. Written as H.264 with 8 bits and 4:2:0, or 4:4:4 where a side
            is odd; MP4, QuickTime or Matroska.
        key_predictor: Colors the key frames instead.
        options: How; the hints, a palette, a reference or a saturation, are for the whole video.
        max_pixels: Larger frames are refused before any is decoded.
        overwrite: As of `colorize_photo`.
        progress: Shows how far it is.

    Returns:
        `source`, `target`, `width`, `height`, `frames`, `lost` (frames that could not be decoded),
        `was_colored` and `notes`, a list of what could not be kept as it was.

    Raises:
        DataError: The video cannot be read, has no frames, or changes its size; by name.
        StorageError: The disk is full, or the folder cannot be written.
        ServerError: Another process is coloring it.
        ModelError: The model takes no hints, or predicts values that are not numbers.
        SettingsError: The hints are points or strokes, which fit one picture only.
        UserError: The target is the video itself, exists, or has an unknown suffix.
    """
    (key_predictor or predictor).check(options)
    if options.hints is not None and options.hints.local is not None:
        raise SettingsError(
            f"{options.hints.local.path} is for one picture, but {source} is a video.",
            "give a palette, a reference or a saturation",
        )
    output = choose_output(source, target, overwrite, video_output_in, FORMAT_OF_SUFFIX)
    video = describe(source, max_pixels)
    fingerprint = _fingerprint(video, predictor, key_predictor, options)
    propagation = Propagation(
        predictor, key_predictor, levels=video.coding.grey_levels(), options=options
    )
    with (
        storing(output),
        progress(f"Coloring {source.name}", video.frames) as advance,
        work_for(output, fingerprint) as work,
    ):
        _color(video, work, propagation, advance)
        with files.atomic_file(output) as file:
            join(file, output.suffix.lower(), video, work.segments())
    return {"source": str(source), "target": str(output), **_facts(video)}


def _facts(video: Video) -> dict[str, Any]:
    return {
        "width": video.width,
        "height": video.height,
        "frames": video.tally["decoded"],
        "lost": video.lost,
        "was_colored": video.was_colored,
        "notes": _notes(video),
    }


def _notes(video: Video) -> list[str]:
    notes = list(video.notes)
    if video.lost:
        notes.append(
            f"{video.lost} of its frames are missing or damaged; the {video.tally['decoded']} that "
            "could be decoded were colored"
        )
    if chroma_divisor(video) == 1:
        notes.append("a side is odd, so it was written as 4:4:4, which some players do not show")
    return notes
