"""A small picture of a photograph, to be shown on a page."""

import io

from PIL import Image, ImageOps

from chromaflow.data.images.limits import open_image


def thumbnail(data: bytes, side: int, max_pixels: int) -> bytes:
    """A photograph as a small JPEG, upright, transparency laid over white.

    Args:
        data: The bytes of the file.
        side: Of the result, its longer side at most, pixels.
        max_pixels: A larger photograph is not decoded.

    Raises:
        TooManyPixelsError: It is larger.
        Exception: Broken bytes make Pillow raise almost anything, from SyntaxError to struct.error.
    """
    with open_image(io.BytesIO(data), max_pixels) as image:
        image.draft("RGB", (2 * side, 2 * side))
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            rgba = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        rgb = upright.convert("RGB")
    rgb.thumbnail((side, side), Image.Resampling.BOX)
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=85, subsampling=0)
    return buffer.getvalue()
