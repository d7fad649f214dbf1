import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from chromaflow.data.images.limits import TooManyPixelsError
from chromaflow.data.images.thumbnail import thumbnail

CAT = Image.fromarray(data.chelsea())


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def small(content: bytes, side: int = 96) -> Image.Image:
    found = Image.open(io.BytesIO(thumbnail(content, side, 10**7)))
    assert (found.format, found.mode) == ("JPEG", "RGB")
    return found


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_it_looks_like_the_photograph(kind: str) -> None:
    found = small(encoded(CAT, kind))
    assert found.size == (96, 64)
    expected = np.asarray(CAT.resize((96, 64), Image.Resampling.BOX), float)
    assert np.abs(np.asarray(found, float) - expected).mean() < 4


def test_it_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = small(encoded(CAT, "JPEG", exif=exif))
    assert found.size == (64, 96)
    turned = np.asarray(CAT.rotate(-90, expand=True).resize((64, 96)), float)
    assert np.abs(np.asarray(found, float) - turned).mean() < 6


def test_transparency_is_white() -> None:
    clear = CAT.copy()
    clear.putalpha(0)
    assert np.asarray(small(encoded(clear, "PNG"))).min() > 250


def test_what_is_too_large_is_not_decoded() -> None:
    with pytest.raises(TooManyPixelsError):
        thumbnail(encoded(CAT, "PNG"), 96, 1000)
