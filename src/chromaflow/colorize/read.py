"""A photograph from a file that may be anything: upright grey levels, or an error that names it."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from chromaflow.color.lab import rgb_to_lab
from chromaflow.colorize import icc
from chromaflow.colorize.join import Levels, grey_of_rgb
from chromaflow.data.images.limits import FORMATS, TooManyPixelsError, open_image
from chromaflow.errors import DataError, UserError

_FORMATS = (*FORMATS, "PPM")
_FOREIGN = {
    b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC",
    b"avif": "AVIF", b"avis": "AVIF", b"crx ": "Canon raw",
}  # fmt: skip
_COLOR_MODES = ("1", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_GREY_MODES = ("L", "LA")
_LONGEST_SIDE = 65_535
_STRIP_PIXELS = 2**18
# The narrower of the two spreads of ab: near zero for grey, toned and sepia pictures, whose colors
# lie on one line. Ordinary color photographs are above 1.
_COLOR_SPREAD = 1.0
_KEPT_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)


@dataclass
class Photo:
    """A photograph, upright.

    Args:
        grey: sRGB grey of the same L, (H, W): uint8, or uint16 where 8 bits would round L.
        alpha: Opacity as stored, (H, W), uint8 or uint16; None where there is none.
        dtype: uint8 or uint16, as the file had it.
        was_colored: Whether the photograph had colors of its own, sepia and toning apart.
        dpi: Dots per inch, across and down.
        tags: Texts of EXIF that outlive coloring: description, camera, date, artist, copyright.
        notes: What its user should know.
    """

    grey: Levels
    dtype: type[np.uint8] | type[np.uint16] = np.uint8
    alpha: Levels | None = None
    was_colored: bool = False
    dpi: tuple[float, float] | None = None
    tags: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except TooManyPixelsError as error:
        raise DataError(
            f"{path} has {error.width} × {error.height} pixels, more than source.max_pixels = "
            f"{error.max_pixels}.",
            f"if you trust the file: --set source.max_pixels={error.width * error.height}",
        ) from None
    except UnidentifiedImageError:
        raise _unknown(path) from None
    except MemoryError:
        raise DataError(f"{path} needs more memory than is available.") from None
    except Exception as error:  # decoders raise all kinds for hostile bytes
        raise DataError(f"{path} is damaged or cut off: {error}") from None


def _unknown(path: Path) -> DataError:
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] == b"ftyp" and start[8:12] in _FOREIGN:
        name = _FOREIGN[start[8:12]]
        return DataError(
            f"{path} is {name}, which is not supported.", "convert it to JPEG, PNG or TIFF"
        )
    known = "JPEG, PNG, TIFF, WebP, GIF, BMP or PNM"
    return DataError(f"{path} is not a picture in {known}, or its start is damaged.")


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a photograph.")
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a file.")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty: it has no bytes.")
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _check_header(path: Path, image: ImageFile) -> None:
    width, height = image.size
    if max(width, height) > _LONGEST_SIDE:
        raise DataError(f"{path} is {width} × {height}; a side has at most {_LONGEST_SIDE} pixels.")
    # The further pictures of an MPO are a camera's previews of the first one.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        what = "pages" if image.format == "TIFF" else "frames"
        raise DataError(
            f"{path} has several {what}; a photograph has one.", "save one of them as a picture"
        )
    deep = image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I")
    # Both libraries garble 16 bits in planes.
    planes = _bits(image) == 16 and _tiff_tag(image, ExifTags.Base.PlanarConfiguration, 1) != 1
    if planes or _bits(image) > 16 or not (deep or image.mode in (*_GREY_MODES, *_COLOR_MODES)):
        raise DataError(
            f"{path} holds pixels in an unsupported format ({image.mode}, {_bits(image)} bits).",
            "save it as grey or RGB with 8 or 16 bits a channel, interleaved",
        )


def _opened(path: Path, file: BinaryIO, max_pixels: int) -> ImageFile:
    image = open_image(file, max_pixels, _FORMATS)
    _check_header(path, image)
    if image.format == "PNG":
        image.verify()  # checksums, which decoding ignores
        file.seek(0)
        image = open_image(file, max_pixels, _FORMATS)
    return image


def _tiff_tag(image: Image.Image, tag: int, default: Any = None) -> Any:
    return image.tag_v2.get(tag, default) if isinstance(image, TiffImageFile) else default


def _bits(image: ImageFile) -> int:
    """Bits a channel, before decoding; 32 stands for all that is not read."""
    if isinstance(image, TiffImageFile):
        stored = max(_tiff_tag(image, ExifTags.Base.BitsPerSample, (1,)))
        return int(stored) if stored in (1, 2, 4, 8, 16) else 32
    coding = image.tile[0].args if image.tile else ""
    if image.format == "PPM":
        highest = coding[1] if isinstance(coding, tuple) and len(coding) == 2 else 255
        return 16 if image.mode == "I" or highest > 255 else 8
    return 16 if ";16" in str(coding) else 8


def _upright(levels: Levels, orientation: int) -> Levels:
    if orientation in (5, 6, 7, 8):
        levels = levels.T
    if orientation in (3, 4, 7, 8):
        levels = levels[::-1]
    if orientation in (2, 3, 6, 7):
        levels = levels[:, ::-1]
    return np.ascontiguousarray(levels)


def _is_colored(rgb: Image.Image) -> bool:
    pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1) / 255
    ab = rgb_to_lab(pixels)[1:].flatten(1)
    spreads = torch.linalg.eigvalsh(torch.cov(ab, correction=0)).clamp(min=0).sqrt()
    return bool(spreads[0] > _COLOR_SPREAD)


def _strips(width: int, height: int) -> Iterator[slice]:
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _read_color(image: Image.Image, photo: Photo) -> None:
    to_srgb: Callable[[Image.Image], Image.Image] = icc.converter(image, photo.notes)
    width, height = image.size
    photo.grey = np.empty((height, width), np.uint16)
    for rows in _strips(width, height):
        strip = to_srgb(image.crop((0, rows.start, width, rows.stop)))
        photo.grey[rows] = grey_of_rgb(np.asarray(strip))
    if image.mode != "1":
        small = image.resize((min(width, 96), min(height, 96)), Image.Resampling.BOX)
        photo.was_colored = _is_colored(to_srgb(small))


def _read_grey(image: Image.Image, photo: Photo) -> None:
    grey: Levels = np.asarray(image.getchannel(0) if image.mode == "LA" else image)
    if image.mode.startswith("I"):
        grey = grey.astype(np.uint16)
        photo.dtype = np.uint16
        if _tiff_tag(image, ExifTags.Base.PhotometricInterpretation) == 0:
            grey = 65535 - grey  # white is zero; Pillow turns that round for 8 bits only
        if "transparency" in image.info:
            hidden = grey == image.info["transparency"]
            photo.alpha = np.where(hidden, 0, 65535).astype(np.uint16)
    curve = icc.grey_curve(image, photo.notes)
    if curve is not None:
        grey = curve[grey if grey.dtype == np.uint16 else grey.astype(np.uint16) * 257]
    photo.grey = grey


def _read_deep_color(path: Path, image: Image.Image, photo: Photo) -> bool:
    """Read 16-bit color through OpenCV, since Pillow keeps 8 of its bits; False where it cannot."""
    # OpenCV would leave colors multiplied by an associated alpha.
    associated = 1 in _tiff_tag(image, ExifTags.Base.ExtraSamples, ())
    foreign = image.format == "PPM" or image.mode == "CMYK" or associated
    if foreign or not icc.is_srgb(image):
        return False
    # Not imread, which fails on rotated TIFFs.
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        return False
    height, width = pixels.shape[:2]
    photo.grey = np.empty((height, width), np.uint16)
    for rows in _strips(width, height):
        photo.grey[rows] = grey_of_rgb(pixels[rows, :, 2::-1])
    photo.alpha = pixels[..., 3].copy() if pixels.shape[2] == 4 else None
    small = cv2.resize(pixels, (96, 96), interpolation=cv2.INTER_AREA)[..., 2::-1]
    photo.was_colored = _is_colored(Image.fromarray((small // 257).astype(np.uint8)))
    photo.dtype = np.uint16
    return True


def _read_metadata(image: Image.Image, photo: Photo) -> int:
    """Fill in dots per inch and tags, and give the EXIF orientation, 1..8."""
    try:
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        texts = {int(tag): exif.get(tag) for tag in _KEPT_TAGS}
        original = ExifTags.Base.DateTimeOriginal
        texts[int(original)] = exif.get_ifd(ExifTags.IFD.Exif).get(original)
        dpi = tuple(float(value) for value in image.info.get("dpi", ()))
    except Exception:  # hostile metadata raises all kinds, but the picture can still be used
        photo.notes.append("its metadata is damaged and was left out")
        return 1
    photo.tags = {tag: text for tag, text in texts.items() if isinstance(text, str) and text}
    if len(dpi) == 2 and all(1 <= value <= 65535 for value in dpi):
        photo.dpi = dpi[::-1] if orientation in (5, 6, 7, 8) else dpi
    return orientation if orientation in range(1, 9) else 1


def read_photo(path: Path, max_pixels: int) -> Photo:
    """Read a photograph: JPEG, PNG, TIFF, WebP, GIF, BMP or PNM, of 1 to 16 bits.

    Rotation of EXIF is applied, ICC profiles are converted to sRGB, colors are reduced to their L.

    Args:
        path: The file.
        max_pixels: The header of a larger picture is refused before any pixel is decoded.

    Raises:
        DataError: The file is missing, unreadable, empty, damaged, cut off, too large, animated, of
            several pages or of a kind that is not read; by name.
    """
    _check_file(path)
    photo = Photo(grey=np.empty((0, 0), np.uint8))
    # Given a name, Pillow maps uncompressed files, which crashes if they shrink and garbles TIFFs
    # that are rotated; given an open file, it does not.
    with _naming(path), path.open("rb") as file, _opened(path, file, max_pixels) as image:
        deep = _bits(image) == 16
        orientation = _read_metadata(image, photo)
        image.load()
        if image.format == "TIFF":
            orientation = 1  # both libraries turn it while decoding
        deep_color = deep and image.mode in ("RGB", "RGBA", "LA", "CMYK")
        if not (deep_color and _read_deep_color(path, image, photo)):
            _read_shallow(image, photo)
            if deep_color:
                photo.notes.append("its 16 bits were read as 8")
    photo.grey = _upright(photo.grey, orientation)
    photo.alpha = None if photo.alpha is None else _upright(photo.alpha, orientation)
    return photo


def _read_shallow(image: Image.Image, photo: Photo) -> None:
    """Read what Pillow decodes in full."""
    if image.mode.startswith("I") or (image.mode == "L" and not image.has_transparency_data):
        _read_grey(image, photo)
        return
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in _GREY_MODES else "RGBA")
        photo.alpha = np.array(image.getchannel("A"))
    (_read_grey if image.mode in _GREY_MODES else _read_color)(image, photo)


def read_color(path: Path, max_pixels: int) -> tuple[Levels, Levels | None]:
    """Read the colors of a picture, such as strokes or a reference, as `read_photo` would.

    Args:
        path: The file.
        max_pixels: The header of a larger picture is refused before any pixel is decoded.

    Returns:
        sRGB, uint8 (H, W, 3), upright; and its opacity, uint8 (H, W), None where it is opaque.

    Raises:
        DataError: As of `read_photo`; or the picture is 16-bit grey.
    """
    _check_file(path)
    with _naming(path), path.open("rb") as file, _opened(path, file, max_pixels) as opened:
        orientation = _read_metadata(opened, Photo(grey=np.empty((0, 0), np.uint8)))
        if opened.mode.startswith("I"):
            raise DataError(
                f"{path} is grey; it has no colors to follow.", "give a picture in color"
            )
        opened.load()
        orientation = 1 if opened.format == "TIFF" else orientation
        alpha = None
        image: Image.Image = opened
        if opened.has_transparency_data:
            image = opened.convert("RGBA")
            alpha = _upright(np.asarray(image.getchannel("A")), orientation)
        rgb = np.asarray(icc.converter(image, [])(image))
    planes = [_upright(rgb[..., channel], orientation) for channel in range(3)]
    return np.stack(planes, axis=2), None if alpha is None or alpha.min() == 255 else alpha
