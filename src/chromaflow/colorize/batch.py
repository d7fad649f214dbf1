"""Many photographs and videos: each is colored, or reported with the reason why not."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chromaflow import console
from chromaflow.colorize.photo import colorize_photo, is_folder_of_outputs, output_in
from chromaflow.colorize.predictor import DEFAULTS, ColorOptions, Predictor
from chromaflow.colorize.video import SUFFIXES as VIDEO_SUFFIXES
from chromaflow.colorize.video import colorize_video, video_output_in
from chromaflow.colorize.write import FORMAT_OF_SUFFIX, StorageError
from chromaflow.errors import ModelError, SettingsError, UserError
from chromaflow.settings.sources import MAX_PIXELS

# The last ones are not read, but reported by name rather than silently skipped.
_PICTURE_SUFFIXES = frozenset(FORMAT_OF_SUFFIX) | VIDEO_SUFFIXES | {
    ".gif", ".bmp", ".pgm", ".ppm", ".pnm", ".pbm", ".heic", ".heif", ".avif",
}  # fmt: skip


@dataclass
class Summary:
    """What became of many photographs and videos.

    Args:
        done: How many were colored.
        were_colored: How many of these had been in color before.
        failed: `file` and `reason` of each one that was not.
        notes: `file` and `note` of what could not be kept as it was.
    """

    done: int = 0
    were_colored: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)

    def add(self, path: Path, result: Mapping[str, Any]) -> None:
        """Count a file that was colored."""
        self.done += 1
        self.were_colored += result["was_colored"]
        self.notes += [{"file": str(path), "note": note} for note in result["notes"]]

    def fail(self, path: Path, reason: str) -> None:
        """Note a file, or a folder, that could not be colored."""
        self.failed.append({"file": str(path), "reason": reason.removeprefix(f"{path} ")})


def _photographs(folder: Path, target: Path, summary: Summary) -> Iterator[Path]:
    """Pictures and videos below a folder, but not hidden ones and not those in the target."""

    def note(error: OSError) -> None:
        summary.fail(Path(error.filename), f"{error.filename} cannot be read: {error.strerror}.")

    for parent, folders, names in os.walk(folder, onerror=note):
        here = Path(parent)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (here / name).resolve() != target.resolve()
        )
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in _PICTURE_SUFFIXES:
                yield here / name


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _plan(sources: Sequence[Path], target: Path, summary: Summary) -> dict[Path, Path]:
    """The photograph of each output; outputs of an earlier run are not photographs."""
    plan: dict[Path, Path] = {}
    seen: set[Path] = set()
    for source in sources:
        if source.is_dir():
            before = len(summary.failed)
            found = list(_photographs(source, target, summary))
            if not found and len(summary.failed) == before:
                summary.fail(source, f"{source} holds no photographs.")
        else:
            found = [source]
        for photograph in found:
            if photograph.resolve() in seen:
                continue
            seen.add(photograph.resolve())
            inside = photograph.parent.relative_to(source) if source.is_dir() else Path()
            place = video_output_in if _is_video(photograph) else output_in
            output = place(target / inside, photograph)
            first = plan.setdefault(output, photograph)
            if first is not photograph:
                reason = f"{output} is already the output of {first}; rename one of them."
                summary.fail(photograph, reason)
    outputs = {output.resolve() for output in plan}
    return {output: path for output, path in plan.items() if path.resolve() not in outputs}


def colorize_many(
    predictor: Predictor,
    sources: Sequence[Path],
    target: Path,
    *,
    options: ColorOptions = DEFAULTS,
    max_pixels: int = MAX_PIXELS,
    overwrite: bool = False,
    key_predictor: Predictor | None = None,
    progress: console.Progress = console.progress,
) -> Summary:
    """Color photographs, videos and folders of them, one by one, going on past those that fail.

    Args:
        predictor: Colors them.
        sources: Files, and folders with all that is below them; hidden files are left out.
        target: The folder of the outputs, `<stem>-color.<suffix>`, laid out as below each source
            folder. It may lie inside a source folder: it is not colored again.
        options: How they are colored; points or strokes fit one photograph only.
        max_pixels: A larger picture is refused before it is decoded.
        overwrite: Replace outputs that lie in the photographs' own folder, too. In any other folder
            outputs are always replaced.
        key_predictor: Colors the key frames of videos instead.
        progress: Shows how far it is.

    Returns:
        Counts, and each file or folder that failed with its reason.

    Raises:
        UserError: The target is a file.
        StorageError: The disk is full, or the target cannot be written. No file is half-written.
        SettingsError: Points or strokes are given for several photographs.
        ModelError: The model takes no hints, or predicts values that are not numbers.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; many photographs need a folder.", "give a folder")
    (key_predictor or predictor).check(options)
    if options.hints is not None:
        options.hints.check_sources(sources)
    summary = Summary()
    plan = _plan(sources, target, summary)
    of_videos = {"key_predictor": key_predictor, "progress": progress}
    with progress("Coloring", len(plan)) as advance:
        for output, photograph in plan.items():
            colorize, more = (
                (colorize_video, of_videos) if _is_video(photograph) else (colorize_photo, {})
            )
            may_replace = overwrite or is_folder_of_outputs(output.parent, photograph)
            how: dict[str, Any] = {"options": options, "max_pixels": max_pixels, **more}
            try:
                result = colorize(predictor, photograph, output, overwrite=may_replace, **how)
            except StorageError as error:
                done = f"{summary.done} of {len(plan)} photographs were already colored."
                raise StorageError(f"{error.problem} {done}", error.remedy) from None
            except (ModelError, SettingsError):
                raise
            except UserError as error:
                summary.fail(photograph, str(error))
            else:
                summary.add(photograph, result)
            advance(1)
    return summary
