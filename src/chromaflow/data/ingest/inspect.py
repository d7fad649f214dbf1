"""Measure one image: does it decode, how large is it, how colorful, what does it look like."""

import io
import math
from typing import NamedTuple

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from chromaflow.data.images.limits import TooManyPixelsError, open_image

_ORIENTATION = 0x0112
MEASURED_SIDE = 256
# Smaller: where JPEG stores color at half size, it blurs the color of a toned print, too.
_TONED_SIDE, _LEVELS = 64, 64


class Inspection(NamedTuple):
    """What one image is.

    `width` and `height` are in pixels after the orientation in its EXIF data. `mean_chroma`
    and `chroma_spread` are the mean and the standard deviation over the pixels of
    chroma = √(a² + b²) in CIE Lab units, on a copy of at most 256 pixels a side; `mean_a` and
    `mean_b` are the mean color there, `luma_spread` is the standard deviation of L*. `free_chroma`
    is what lightness does not determine of the color: the root mean square distance of (a, b) from
    the mean (a, b) of the pixels as light, on a copy of at most 64 pixels; about 0 for a toned
    print.
    `phash` is the 64-bit perceptual hash of the larger copy in 16 hexadecimal digits. All of them
    are None, and `error` says why, where the image does not decode.
    """

    decodes: bool
    width: int | None = None
    height: int | None = None
    mean_chroma: float | None = None
    chroma_spread: float | None = None
    mean_a: float | None = None
    mean_b: float | None = None
    luma_spread: float | None = None
    free_chroma: float | None = None
    phash: str | None = None
    error: str | None = None


def _reduce(image: Image.Image) -> Image.Image:
    """Decode a picture and make it RGB, upright and small."""
    # The decoder of JPEG reads every byte, yet computes only the pixels that are asked for.
    image.draft("RGB", (MEASURED_SIDE, MEASURED_SIDE))
    image.load()
    if image.mode == "I" or image.mode.startswith(("I;", "F")):
        image = _stretch(np.asarray(image, np.float64))
    factor = -(-max(image.size) // MEASURED_SIDE)
    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    if factor > 1:
        # Narrow pictures keep one pixel.
        image = image.reduce((min(factor, image.width), min(factor, image.height)))
    return ImageOps.exif_transpose(image).convert("RGB")


def _stretch(values: NDArray[np.float64]) -> Image.Image:
    """Deep grey values, of which Pillow does not know the range, spread over 8 bits."""
    values = np.nan_to_num(values)
    low, high = values.min(), values.max()
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))


def _free_chroma(rgb: NDArray[np.uint8]) -> float:
    """How far colors lie from the mean color of their lightness, CIE Lab units."""
    scale = _TONED_SIDE / max(rgb.shape[:2])
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in rgb.shape[1::-1])
        rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    level = np.clip(lab[:, 0] * (_LEVELS / 100), 0, _LEVELS - 1).astype(np.int64)
    count = np.maximum(np.bincount(level, minlength=_LEVELS), 1)
    squared = 0.0
    for color in (lab[:, 1], lab[:, 2]):
        mean = np.bincount(level, color, _LEVELS) / count
        squared += float(((color - mean[level]) ** 2).mean())
    return math.sqrt(squared)


def _measure(data: bytes, max_pixels: int) -> Inspection:
    with open_image(io.BytesIO(data), max_pixels) as image:
        # MPO is how phones store a JPEG with a second, small picture.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            return Inspection(
                False, error="it holds more than one picture, so it is not a photograph"
            )
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
            width, height = height, width
        small = _reduce(image)
        if image.format == "TIFF":
            # Pillow turns a TIFF by itself, and some versions swap its sides beforehand.
            width, height = image.size
    lab = cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2LAB)
    a, b = (lab[..., channel].astype(np.int32) - 128 for channel in (1, 2))
    squared = a * a + b * b
    mean = float(np.sqrt(squared).mean())
    spread = max(0.0, float(squared.mean()) - mean**2) ** 0.5
    return Inspection(
        decodes=True,
        width=width,
        height=height,
        mean_chroma=round(mean, 3),
        chroma_spread=round(spread, 3),
        mean_a=round(float(a.mean()), 3),
        mean_b=round(float(b.mean()), 3),
        luma_spread=round(float(lab[..., 0].std()) * 100 / 255, 3),
        free_chroma=round(_free_chroma(np.asarray(small)), 3),
        phash=str(imagehash.phash(small)),
    )


def _explain(error: Exception) -> str:
    # Its text names the buffer's address, which differs from run to run.
    unknown = isinstance(error, UnidentifiedImageError)
    return "unknown image format" if unknown else f"it is broken: {error}"


def inspect(data: bytes, max_pixels: int) -> Inspection:
    """Measure an image file.

    The header is read first: a picture that is too large or moves is never decoded. A JPEG is
    decoded at reduced size, yet to its last byte, so that a truncated file is found.

    Args:
        data: The file's bytes, which may be anything.
        max_pixels: A larger picture is taken for a decompression bomb.
    """
    if not data:
        return Inspection(False, error="it is empty")
    try:
        return _measure(data, max_pixels)
    except TooManyPixelsError as error:
        return Inspection(False, error=str(error))
    # Broken bytes make Pillow's decoders raise almost anything, from SyntaxError to struct.error.
    except Exception as error:
        return Inspection(False, error=_explain(error))
