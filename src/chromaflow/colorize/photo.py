"""One photograph from a file to a file."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from chromaflow.colorize.predictor import DEFAULTS, ColorOptions, Predictor
from chromaflow.colorize.read import read_photo
from chromaflow.colorize.write import FORMAT_OF_SUFFIX, depth_for, write_photo
from chromaflow.errors import UserError
from chromaflow.settings.sources import MAX_PIXELS


def output_in(folder: Path, source: Path) -> Path:
    """`<stem>-color` in a folder, with the photograph's suffix, or .png if that holds no color."""
    suffix = source.suffix if source.suffix.lower() in FORMAT_OF_SUFFIX else ".png"
    return folder / f"{source.stem}-color{suffix}"


def is_folder_of_outputs(folder: Path, source: Path) -> bool:
    """Whether a folder is another than the photograph's own, so its `-color` files are ours."""
    return folder.resolve() != source.resolve().parent


def choose_output(
    source: Path,
    target: Path,
    overwrite: bool,
    output_in: Callable[[Path, Path], Path],
    formats: Iterable[str],
) -> Path:
    """The file that a target means, which may be a folder.

    Args:
        source: What is to be colored.
        target: A file or a folder.
        overwrite: Whether a file that exists may be replaced; in a folder of outputs it may always.
        output_in: The file for a source in a folder.
        formats: Suffixes that can be written.

    Raises:
        UserError: The target is the source itself, exists, or has an unknown suffix.
    """
    is_folder = target.is_dir() or not target.suffix
    output = output_in(target, source) if is_folder else target
    if output.suffix.lower() not in formats:
        raise UserError(
            f"{target}: {source.name} cannot be written as {target.suffix}.",
            f"choose one of {', '.join(formats)}",
        )
    existing = (
        output.resolve()
    )  # a path such as folder/../photo.png, or a link, may lead to the source
    if not existing.exists():
        return output
    if source.exists() and existing.samefile(source):
        raise UserError(f"{source} is never overwritten.", "give another name or folder")
    if not (overwrite or (is_folder and is_folder_of_outputs(target, source))):
        raise UserError(f"{output} exists already.", "remove it, or add --overwrite")
    return output


def colorize_photo(
    predictor: Predictor,
    source: Path,
    target: Path,
    *,
    options: ColorOptions = DEFAULTS,
    max_pixels: int = MAX_PIXELS,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Color a photograph at its full size, with its own L.

    A photograph that is already in color is recolored from its L, and the result says so.

    Args:
        predictor: Colors it.
        source: JPEG, PNG, TIFF, WebP, GIF, BMP or PNM; EXIF rotation and ICC profiles are applied.
        target: A file whose suffix chooses the format, or a folder, which gets
            `<stem>-color.<suffix>`. JPEG is written with quality 95 and full chroma. PNG, TIFF and
            WebP keep alpha; PNG and TIFF keep 16 bits.
        options: How it is colored.
        max_pixels: A larger picture is refused before it is decoded.
        overwrite: Replace a file that exists. In a folder other than the photograph's own, `-color`
            pictures of an earlier run are replaced in any case. The photograph itself never is.

    Returns:
        `source`, `target`, `width`, `height`, `bits` (8 or 16), `was_colored` and `notes`, a list
        of what could not be kept as it was.

    Raises:
        DataError: The photograph cannot be read, or not be written in this format, or hints do not
            fit it; by name.
        StorageError: The disk is full, or the folder cannot be written.
        ModelError: The model takes no hints, or predicts values that are not numbers.
        UserError: The target is the photograph itself, exists, or has an unknown suffix.
    """
    predictor.check(options)
    output = choose_output(source, target, overwrite, output_in, FORMAT_OF_SUFFIX)
    photo = read_photo(source, max_pixels)
    dtype = depth_for(output, photo)
    write_photo(output, photo, predictor.strips(photo.grey, dtype, options))
    height, width = photo.grey.shape
    return {
        "source": str(source),
        "target": str(output),
        "width": width,
        "height": height,
        "bits": dtype().itemsize * 8,
        "was_colored": photo.was_colored,
        "notes": photo.notes,
    }
