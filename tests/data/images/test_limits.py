"""The guard that every image from outside passes, in one thread or in many."""

import io
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from skimage import data

from chromaflow.data.images.limits import FORMATS, TooManyPixelsError, open_image

SIDE = 20_000  # 4e8 pixels, of which Pillow itself would open no image


def encoded(format_: str, rgb: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, format_)
    return file


def header_of(side: int) -> io.BytesIO:
    """A PNG of so many rows and columns, of which only the first few bytes are there."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + head + body)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_is_opened(format_: str) -> None:
    rgb = data.chelsea()
    with open_image(encoded(format_, rgb), 451 * 300) as image:
        assert image.format == format_
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - rgb).mean() < 8


def test_other_formats_are_not() -> None:
    for format_ in ("ICO", "EPS", "PPM"):
        with pytest.raises(UnidentifiedImageError):
            open_image(encoded(format_, data.chelsea()[:32, :32]), 10**6)
    assert open_image(encoded("PPM", data.chelsea()), 10**6, ("PPM",)).format == "PPM"


def test_one_pixel_too_many_is_refused_by_the_header() -> None:
    with pytest.raises(
        TooManyPixelsError, match=r"^451×300 pixels are more than source.max_pixels = 135299$"
    ) as caught:
        open_image(encoded("JPEG", data.chelsea()), 451 * 300 - 1)
    assert (caught.value.width, caught.value.height) == (451, 300)


def test_the_limit_may_lie_above_that_of_pillow() -> None:
    assert open_image(header_of(SIDE), SIDE**2).size == (SIDE, SIDE)
    with pytest.raises(TooManyPixelsError):
        open_image(header_of(SIDE), SIDE**2 - 1)


def test_threads_with_other_limits_do_not_disturb_each_other() -> None:
    content = encoded("PNG", data.chelsea()).getvalue()
    together = threading.Barrier(8)

    def opened(number: int) -> list[bool]:
        together.wait()
        found = []
        for _ in range(50):
            try:
                open_image(io.BytesIO(content), 451 * 300 - number % 2).load()
                found.append(True)
            except TooManyPixelsError:
                found.append(False)
        return found

    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(opened, range(8)))
    assert results == [[number % 2 == 0] * 50 for number in range(8)]
    assert before == (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
