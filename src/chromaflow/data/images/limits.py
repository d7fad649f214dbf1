"""Image files that may be hostile, opened: only formats of photographs, only so many pixels.

Pillow's own limit of pixels and the filters of warnings belong to the whole process: a thread that
changed them for a moment would change them for all the others. So both are set once, when this
module is imported, and never again:

* Pillow's limit is off, since `source.max_pixels` may lie above it. Every image that comes from
  outside is opened by `open_image`, which checks the header before any pixel is decoded.
* Pillow's warnings, such as of broken EXIF data, are silent: they name no file.
"""

import warnings
from collections.abc import Sequence
from typing import BinaryIO

# Imported to be registered: Pillow would else import all of its plugins for the first TIFF or WebP.
from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401
from PIL.ImageFile import ImageFile

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
"""What photographs come in; whatever else Pillow reads, such as PostScript or icons, is none."""

Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\.")


class TooManyPixelsError(ValueError):
    """The header of an image names more pixels than are allowed.

    Args:
        size: Its width and height.
        max_pixels: Of `source.max_pixels`.
    """

    def __init__(self, size: tuple[int, int], max_pixels: int) -> None:
        self.width, self.height = size
        self.max_pixels = max_pixels
        super().__init__(
            f"{self.width}×{self.height} pixels are more than source.max_pixels = {max_pixels}"
        )


def open_image(file: BinaryIO, max_pixels: int, formats: Sequence[str] = FORMATS) -> ImageFile:
    """Open an image, of which only the header is read; `load` or any use of its pixels decodes it.

    Args:
        file: Open for reading; it stays open.
        max_pixels: A larger image is taken for a decompression bomb.
        formats: Names by which Pillow knows what may be read.

    Raises:
        TooManyPixelsError: It is larger.
        Exception: Broken bytes make Pillow raise almost anything, from SyntaxError to struct.error;
            what is of no format that may be read, PIL.UnidentifiedImageError.
    """
    image = Image.open(file, formats=tuple(formats))
    if image.width * image.height > max_pixels:
        raise TooManyPixelsError(image.size, max_pixels)
    return image
