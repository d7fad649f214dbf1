import io
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from skimage import color, data

from chromaflow.data.store.decode import color_table, photograph_to_lab
from chromaflow.errors import DataError

MANY = 10**8


def encode(
    pixels: NDArray[np.generic] | Image.Image, kind: str = "PNG", **options: object
) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def to_lab(stored: NDArray[np.uint8]) -> NDArray[np.float64]:
    return stored.astype(np.float64) * (100 / 255, 1, 1) - (0, 128, 128)


def delta_e(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = np.linalg.norm(one - other, axis=-1)
    return distance


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "retina"])
def test_colors_are_those_of_scikit_image(name: str) -> None:
    rgb = getattr(data, name)()[:300, :400]
    stored = photograph_to_lab(encode(rgb), 300, MANY)
    true = color.rgb2lab(rgb)
    best = np.rint(true * (2.55, 1, 1) + (0, 128, 128))
    assert (stored == best).mean() > 0.995
    assert delta_e(to_lab(stored), true).max() < 0.75


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_every_color_is_rounded_as_well_as_8_bits_allow(rgb: tuple[int, int, int]) -> None:
    flat = np.full((32, 32, 3), rgb, np.uint8)
    stored = photograph_to_lab(encode(flat), 32, MANY)
    assert (stored == stored[0, 0]).all()
    assert np.abs(to_lab(stored) - color.rgb2lab(flat)).max() < 0.51


@pytest.fixture(scope="module")
def table() -> NDArray[np.uint32]:
    return color_table()


@settings(deadline=None, max_examples=50)
@given(st.integers(32, 90), st.integers(32, 90), st.integers(0, 2**32 - 1))
def test_the_table_gives_the_same_bits(
    table: NDArray[np.uint32], height: int, width: int, seed: int
) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    content, size = encode(rgb), min(height, width)
    assert np.array_equal(
        photograph_to_lab(content, size, MANY), photograph_to_lab(content, size, MANY, table)
    )


def test_the_table_holds_the_nearest_color_nearly_everywhere(table: NDArray[np.uint32]) -> None:
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (100_000, 3))
    found = table[rgb @ (65536, 256, 1)].view(np.uint8).reshape(-1, 4)[:, :3]
    true = color.rgb2lab(rgb[np.newaxis] / 255)[0]
    assert (found == np.rint(true * (2.55, 1, 1) + (0, 128, 128))).mean() > 0.998
    assert delta_e(to_lab(found), true).max() < 0.75


def test_grey_stays_grey() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8), 16).reshape(64, 64)
    lab = photograph_to_lab(encode(np.stack([grey] * 3, axis=-1)), 64, MANY)
    assert (lab[..., 1:] == 128).all()
    true = color.rgb2lab(np.stack([grey] * 3, axis=-1))[..., 0] * 2.55
    assert np.abs(lab[..., 0] - true).max() < 1


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 900), st.integers(2, 900), st.integers(32, 96))
def test_the_shorter_side_is_the_size(height: int, width: int, size: int) -> None:
    aspect = max(height, width) / min(height, width)
    if aspect > 8:
        width = height
    lab = photograph_to_lab(encode(np.zeros((height, width, 3), np.uint8), "JPEG"), size, MANY)
    assert min(lab.shape[:2]) == size
    assert lab.dtype == np.uint8
    longer = size * max(height, width) / min(height, width)
    # A reduced JPEG has its sides rounded up.
    assert abs(max(lab.shape[:2]) - longer) <= 1 + aspect
    if height != width:
        assert (lab.shape[0] > lab.shape[1]) == (height > width) or lab.shape[0] == lab.shape[1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [160, 40])
def test_orientation_is_applied(orientation: int, size: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(data.coffee()[:200, :300], "JPEG", exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    expected = photograph_to_lab(encode(upright), size, MANY)
    found = photograph_to_lab(content, size, MANY)
    assert found.shape == expected.shape
    assert delta_e(to_lab(found), to_lab(expected)).mean() < 2


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_reduced_decoding_gives_the_same_picture(factor: int) -> None:
    rgb = data.retina()[:1024, :1200]
    found = photograph_to_lab(encode(rgb, "JPEG", quality=95), 1024 // factor, MANY)
    whole = cv2.resize(rgb, found.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert delta_e(to_lab(found), color.rgb2lab(whole)).mean() < 1.5


def test_large_png_is_averaged_over_areas() -> None:
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    lab = photograph_to_lab(encode(stripes), 100, MANY)
    assert np.ptp(lab[..., 0]) <= 1


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("RGB", "TIFF"), ("P", "GIF")],
)
def test_other_modes_give_the_same_picture(mode: str, kind: str) -> None:
    photograph = Image.fromarray(data.chelsea()[:128, :160]).convert(mode)
    lab = photograph_to_lab(encode(photograph, kind), 128, MANY)
    expected = color.rgb2lab(np.asarray(photograph.convert("RGB")))
    assert delta_e(to_lab(lab), expected).mean() < 2.5


def test_transparency_lies_over_white() -> None:
    clear = np.zeros((64, 64, 4), np.uint8)
    clear[:, 32:] = (255, 0, 0, 255)
    lab = photograph_to_lab(encode(clear), 64, MANY)
    assert (lab[:, :32] == (255, 128, 128)).all()
    assert (lab[:, 32:, 1] > 200).all()


def test_deep_grey_keeps_its_lightness() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    lab = photograph_to_lab(encode(ramp), 64, MANY)
    assert lab[0, 0, 0] == 0
    assert lab[-1, -1, 0] == 255
    assert (lab[..., 1:] == 128).all()


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0", encode(data.coffee()[:99, :99])[:900]],
    ids=["empty", "text", "postscript", "cut short"],
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="cannot be decoded"):
        photograph_to_lab(content, 64, MANY)


def test_a_decompression_bomb_is_not_decoded() -> None:
    with pytest.raises(DataError, match=r"100×50 pixels are more than source.max_pixels"):
        photograph_to_lab(encode(np.zeros((50, 100, 3), np.uint8)), 32, 4999)


def test_every_processor_gives_the_same_bits(tmp_path: Path) -> None:
    """OpenCV and libjpeg without their vector instructions stand for another processor."""
    paths = []
    for name, size in (("astronaut", 128), ("coffee", 256), ("chelsea", 320), ("rocket", 200)):
        kind = "PNG" if name == "rocket" else "JPEG"
        path = tmp_path / f"{name}-{size}"
        path.write_bytes(encode(getattr(data, name)()[:, :401], kind))
        paths.append(path)
    program = (
        "import hashlib, pathlib, sys\n"
        "from chromaflow.data.store.decode import color_table, photograph_to_lab\n"
        "for name in sys.argv[1:]:\n"
        "    path = pathlib.Path(name)\n"
        "    lab = photograph_to_lab(path.read_bytes(), int(name.split('-')[-1]), 10**8)\n"
        "    print(hashlib.sha256(lab.tobytes()).hexdigest())\n"
        "print(hashlib.sha256(color_table().tobytes()).hexdigest())\n"
    )
    plain = {
        **os.environ,
        "OPENCV_CPU_DISABLE": "AVX512_SKX,AVX2,FMA3,FP16,AVX,SSE4_2,SSE4_1",
        "OPENCV_IPP": "disabled",
        "JSIMD_FORCENONE": "1",
    }
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program, *paths],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for environment in (dict(os.environ), plain)
    ]
    assert outputs[0] == outputs[1]
    assert len(set(outputs[0].split())) == len(paths) + 1
