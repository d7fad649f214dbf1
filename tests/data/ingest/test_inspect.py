import io
import struct
import zlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from chromaflow.data.ingest.inspect import Inspection, inspect

LIMIT = 100_000_000
DATA = Path(str(resources.files("skimage"))) / "data"


def photograph(name: str = "chelsea.png") -> Image.Image:
    return Image.open(DATA / name).convert("RGB")


def encode(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg", "ihc.png"])
def test_chroma_agrees_with_scikit_image_on_the_whole_photograph(name: str) -> None:
    found = inspect((DATA / name).read_bytes(), LIMIT)
    ab = rgb2lab(np.asarray(photograph(name)))[..., 1:]
    chroma = np.hypot(ab[..., 0], ab[..., 1])
    assert found.decodes
    assert (found.width, found.height) == photograph(name).size
    assert found.mean_chroma == pytest.approx(chroma.mean(), abs=1.0)
    assert found.chroma_spread == pytest.approx(chroma.std(), abs=1.0)


def test_phash_agrees_with_its_definition() -> None:
    small = photograph("astronaut.png").resize((256, 256), Image.Resampling.BOX)
    found = inspect(encode(small), LIMIT)
    grey = small.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    low = scipy.fft.dctn(np.asarray(grey, float), type=2)[:8, :8]
    bits = "".join("1" if bit else "0" for bit in (low > np.median(low)).flatten())
    assert found.phash == f"{int(bits, 2):016x}"


def test_phash_of_a_recompressed_and_resized_copy_is_near() -> None:
    image = photograph("coffee.png")
    copy = image.resize((image.width * 2 // 3, image.height * 2 // 3))
    one = inspect(encode(image), LIMIT).phash
    other = inspect(encode(copy, "JPEG", quality=60), LIMIT).phash
    assert one is not None
    assert other is not None
    assert (int(one, 16) ^ int(other, 16)).bit_count() <= 4


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_of_exif_decides_width_and_height(format_: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = photograph().transpose(Image.Transpose.ROTATE_90)
    found = inspect(encode(lying, format_, exif=exif), LIMIT)
    upright = inspect(encode(photograph()), LIMIT)
    assert (found.width, found.height) == (451, 300)
    assert (int(found.phash or "0", 16) ^ int(upright.phash or "0", 16)).bit_count() <= 2


def test_grey_and_tinted_images_have_little_chroma_and_little_spread() -> None:
    grey = inspect(encode(photograph().convert("L"), "JPEG"), LIMIT)
    assert (grey.mean_chroma, grey.chroma_spread) == (0.0, 0.0)
    values = np.asarray(photograph().convert("L"), float)[..., None]
    tinted = Image.fromarray((values * [0.55, 0.5, 0.45] + [90, 84, 76]).astype(np.uint8))
    sepia = inspect(encode(tinted), LIMIT)
    assert sepia.mean_chroma is not None
    assert sepia.chroma_spread is not None
    assert sepia.mean_chroma > 3
    assert sepia.chroma_spread < 2.5


def every_mode() -> dict[str, bytes]:
    image = photograph().resize((120, 90))
    deep = Image.fromarray((np.asarray(image.convert("L"), np.uint16) * 257).astype(np.uint16))
    alpha = image.copy()
    alpha.putalpha(128)
    return {
        "CMYK": encode(image.convert("CMYK"), "JPEG"),
        "palette": encode(image.quantize(64)),
        "alpha": encode(alpha),
        "grey and alpha": encode(image.convert("LA")),
        "16 bit": encode(deep),
        "16 bit TIFF": encode(deep, "TIFF"),
        "float": encode(Image.fromarray(np.asarray(image.convert("L"), np.float32)), "TIFF"),
        "two colors": encode(image.convert("1")),
        "still GIF": encode(image.quantize(64), "GIF"),
        "BMP": encode(image, "BMP"),
        "WebP": encode(image, "WEBP"),
        "progressive": encode(image, "JPEG", progressive=True),
        "one pixel wide": encode(image.resize((1, 600))),
    }


@pytest.mark.parametrize("mode", every_mode())
def test_every_mode_of_pixels_is_measured(mode: str) -> None:
    found = inspect(every_mode()[mode], LIMIT)
    assert found.decodes, found.error
    assert found.phash is not None
    assert len(found.phash) == 16
    if mode in ("16 bit", "16 bit TIFF", "float"):
        plain = inspect(encode(photograph().resize((120, 90)).convert("L")), LIMIT)
        assert (int(found.phash, 16) ^ int(plain.phash or "0", 16)).bit_count() <= 4


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_truncated_files_do_not_decode(format_: str, share: float) -> None:
    image = photograph("coffee.png")
    data = encode(image.quantize(128) if format_ == "GIF" else image, format_)
    found = inspect(data[: int(len(data) * share)], LIMIT)
    assert not found.decodes
    assert found.error
    assert found._replace(error=None) == Inspection(decodes=False)


def test_truncation_is_found_although_only_a_reduced_picture_is_computed() -> None:
    large = photograph("astronaut.png").resize((2048, 2048))
    data = encode(large, "JPEG", quality=90)
    assert inspect(data, LIMIT).decodes
    assert not inspect(data[:-4000], LIMIT).decodes


def bomb(side: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_decompression_bombs_are_refused_by_their_header() -> None:
    found = inspect(bomb(50_000), LIMIT)
    assert not found.decodes
    assert found.error == "50000×50000 pixels are more than source.max_pixels = 100000000"
    assert inspect(encode(photograph()), 451 * 300).decodes
    assert not inspect(encode(photograph()), 451 * 300 - 1).decodes


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "TIFF"])
def test_moving_pictures_are_no_photographs(format_: str) -> None:
    frames = [photograph().resize((64, 64)).rotate(angle) for angle in (0, 40)]
    data = encode(frames[0], format_, save_all=True, append_images=frames[1:])
    found = inspect(data, LIMIT)
    assert not found.decodes
    assert "more than one picture" in (found.error or "")


def test_a_phone_s_jpeg_with_a_second_picture_is_a_photograph() -> None:
    image = photograph().resize((128, 128))
    data = encode(image, "MPO", save_all=True, append_images=[image.resize((32, 32))])
    assert inspect(data, LIMIT).decodes


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"\x00" * 500, "unknown image format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unknown image format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unknown image format"),
        (b"\xff\xd8\xff\xe0 no jpeg", ""),
    ],
)
def test_what_is_no_image_does_not_decode(data: bytes, reason: str) -> None:
    found = inspect(data, LIMIT)
    assert not found.decodes
    assert reason in (found.error or "")
    assert " at 0x" not in (found.error or "")


@given(st.binary(max_size=40), st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_damaged_bytes_never_raise(garbage: bytes, at: int) -> None:
    data = encode(photograph().resize((64, 64)), "JPEG")
    at %= len(data)
    damaged = data[:at] + garbage + data[at + len(garbage) :]
    found = inspect(damaged, LIMIT)
    assert found.decodes == (found.error is None)
    assert inspect(damaged, LIMIT) == found
