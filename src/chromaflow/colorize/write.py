"""A colored photograph to a file: whole or not at all, with the grey one's depth, alpha and DPI."""

import contextlib
import errno
import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image

from chromaflow.colorize.join import Levels
from chromaflow.colorize.read import Photo
from chromaflow.errors import DataError, UserError
from chromaflow.project import files

FORMAT_OF_SUFFIX = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
_DEEP_FORMATS = ("PNG", "TIFF")
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 3},  # as small as the usual 6 on photographs, in half the time
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "WEBP": {"quality": 95, "exact": True},
}
_SOFTWARE = "chromaflow (colors predicted by a model)"


class StorageError(UserError):
    """A disk or folder that takes no more files; the next photograph would fail as well."""


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Tell faults of the disk or the folder by name, while a file is written.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise  # a codec's own
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = (
            "make room, or choose another folder" if full else "choose another folder: --output"
        )
        raise StorageError(f"{path} cannot be written: {error.strerror}.", remedy) from None


def depth_for(path: Path, photo: Photo) -> type[np.uint8] | type[np.uint16]:
    """The type of level that a file can hold of a photograph."""
    deep = FORMAT_OF_SUFFIX[path.suffix.lower()] in _DEEP_FORMATS
    return photo.dtype if deep else np.uint8


def write_photo(path: Path, photo: Photo, strips: Iterable[tuple[int, Levels]]) -> None:
    """Write a colored photograph, replacing the file only when it is complete and on disk.

    DPI is kept, except in WebP; alpha, except in JPEG; texts of EXIF in 8-bit pictures, whose
    EXIF also states, as Software, that the colors are predicted.

    Args:
        path: The file; its suffix chooses the format.
        photo: What was read; gets a note on what the format could not hold.
        strips: Rows and their sRGB (rows, W, 3), of the type that `depth_for` gives.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
        DataError: The format cannot hold the picture.
    """
    name = FORMAT_OF_SUFFIX[path.suffix.lower()]
    if depth_for(path, photo) is not photo.dtype:
        photo.notes.append(f"written with 8 bits: {name} supports no more")
    if photo.alpha is not None and name == "JPEG":
        photo.notes.append("its alpha was left out: JPEG supports none")
    alpha = None if name == "JPEG" else photo.alpha
    try:
        with storing(path):
            if depth_for(path, photo) is np.uint16:
                data = _encode_deep(name, photo, _collect(photo, alpha, strips))
                files.write_bytes(path, data)
            else:
                canvas = _paint(photo, alpha, strips)
                with files.atomic_file(path) as file:
                    _save(canvas, file, name, photo)
    except (OSError, ValueError, cv2.error) as error:
        raise DataError(f"{path} cannot be written as {name}: {error}.") from None


def _paint(photo: Photo, alpha: Levels | None, strips: Iterable[tuple[int, Levels]]) -> Image.Image:
    height, width = photo.grey.shape
    canvas = Image.new("RGB" if alpha is None else "RGBA", (width, height))
    for top, strip in strips:
        part = Image.fromarray(strip)
        if alpha is not None:
            rows = alpha[top : top + len(strip)]
            part.putalpha(Image.fromarray(rows if rows.dtype == np.uint8 else _to_8_bits(rows)))
        canvas.paste(part, (0, top))
    return canvas


def _to_8_bits(levels: Levels) -> Levels:
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _save(canvas: Image.Image, file: BinaryIO, name: str, photo: Photo) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = _SOFTWARE
    for tag, text in photo.tags.items():
        if tag == ExifTags.Base.DateTimeOriginal:
            exif.get_ifd(ExifTags.IFD.Exif)[tag] = text
        else:
            exif[tag] = text.encode("latin-1", "replace")  # as Pillow had decoded the bytes
    options = _OPTIONS[name] | ({"dpi": photo.dpi} if photo.dpi else {})
    if name != "TIFF":
        canvas.save(file, name, exif=exif, **options)
        return
    # Given a file, libtiff writes it by itself and hides whether the disk is full.
    buffer = io.BytesIO()
    canvas.save(buffer, name, exif=exif, **options)
    file.write(buffer.getbuffer())


def _collect(photo: Photo, alpha: Levels | None, strips: Iterable[tuple[int, Levels]]) -> Levels:
    pixels = np.empty((*photo.grey.shape, 3 if alpha is None else 4), np.uint16)
    for top, strip in strips:
        pixels[top : top + len(strip), :, :3] = strip[..., ::-1]
    if alpha is not None:
        pixels[..., 3] = alpha
    return pixels


def _encode_deep(name: str, photo: Photo, pixels: Levels) -> bytes:
    across, down = photo.dpi or (0, 0)
    if name == "PNG":
        data = cv2.imencode(".png", pixels)[1].tobytes()
        return _png_with_dpi(data, across, down) if photo.dpi else data
    options = [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE]
    if photo.dpi:
        options += [cv2.IMWRITE_TIFF_RESUNIT, cv2.IMWRITE_TIFF_RESOLUTION_UNIT_INCH]
        options += [cv2.IMWRITE_TIFF_XDPI, round(across), cv2.IMWRITE_TIFF_YDPI, round(down)]
    return cv2.imencode(".tiff", pixels, options)[1].tobytes()


def _png_with_dpi(png: bytes, across: float, down: float) -> bytes:
    """Put a pHYs chunk, pixels a metre, behind the header, whose 33 bytes come first in any PNG."""
    metre = 1 / 0.0254
    body = b"pHYs" + struct.pack(">IIB", round(across * metre), round(down * metre), 1)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]
