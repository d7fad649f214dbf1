import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms
from skimage import data
from skimage.color import rgb2gray, rgb2lab

from chromaflow.colorize.join import Levels
from chromaflow.colorize.read import read_photo
from chromaflow.errors import DataError
from tests.support.png_files import icc_profile, png16, png_chunk

MOST = 10_000_000


def _cat() -> NDArray[np.uint8]:
    cat: NDArray[np.uint8] = (rgb2gray(data.chelsea()) * 255).round().astype(np.uint8)
    return cat[:90, :120]


def _deep() -> NDArray[np.uint16]:
    return np.random.default_rng(5).integers(0, 65536, (21, 34), dtype=np.uint16)


def _lightness(rgb: Levels, white: int) -> NDArray[np.float64]:
    lightness: NDArray[np.float64] = rgb2lab(rgb / white)[..., 0]
    return lightness


def _turned(grey: Levels, orientation: int) -> Levels:
    """How a camera stores an upright picture under an EXIF orientation."""
    store: dict[int, Callable[[Levels], Levels]] = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda x: np.rot90(x, 1),
        7: lambda x: np.rot90(x, 2).T,
        8: lambda x: np.rot90(x, -1),
    }
    return np.ascontiguousarray(store[orientation](grey))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_every_orientation_of_exif_is_applied(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"photo.{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    options: dict[str, dict[str, Any]] = {"jpg": {"quality": 100}, "webp": {"lossless": True}}
    picture = Image.fromarray(_turned(_cat(), orientation))
    picture.save(path, exif=exif, dpi=(300, 150), **options.get(suffix, {}))
    photo = read_photo(path, MOST)
    np.testing.assert_allclose(photo.grey / np.iinfo(photo.grey.dtype).max * 255, _cat(), atol=3)
    if suffix != "webp":
        assert photo.dpi is not None
        expected = (300, 150) if orientation < 5 else (150, 300)
        np.testing.assert_allclose(photo.dpi, expected, atol=0.1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_orientation_of_16_bits_is_applied(
    tmp_path: Path, orientation: int, channels: int
) -> None:
    stored = np.repeat(_turned(_deep(), orientation)[..., None], channels, axis=2)
    tag = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 274, 3, 1, orientation, 0, 0)
    (tmp_path / "photo.png").write_bytes(png16(stored, png_chunk(b"eXIf", tag)))
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png", MOST).grey, _deep())
    extratags = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "photo.tif", stored.squeeze(), extratags=extratags)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.tif", MOST).grey, _deep())


def test_kinds_of_grey_keep_every_level(tmp_path: Path) -> None:
    cat = _cat()
    Image.fromarray(cat).save(tmp_path / "l.png")
    Image.fromarray(cat).save(tmp_path / "l.pgm")
    Image.fromarray(cat).save(tmp_path / "l.bmp")
    Image.fromarray(cat).save(tmp_path / "l.gif")
    tifffile.imwrite(tmp_path / "white.tif", 255 - cat, photometric="miniswhite")
    Image.fromarray(np.dstack([cat] * 3)).save(tmp_path / "rgb.png")
    for name in ("l.png", "l.pgm", "l.bmp", "l.gif", "white.tif", "rgb.png"):
        photo = read_photo(tmp_path / name, MOST)
        levels = photo.grey // 257 if photo.grey.dtype == np.uint16 else photo.grey
        np.testing.assert_array_equal(levels, cat, name)
        assert (photo.dtype, photo.was_colored, photo.alpha) == (np.uint8, False, None)


def test_kinds_of_16_bit_grey_keep_every_level(tmp_path: Path) -> None:
    deep = _deep()
    (tmp_path / "g.png").write_bytes(png16(deep[..., None]))
    (tmp_path / "la.png").write_bytes(png16(np.dstack([deep, deep.max() - deep])))
    (tmp_path / "rgb.png").write_bytes(png16(np.dstack([deep] * 3)))
    header = f"P5 {deep.shape[1]} {deep.shape[0]} 65535\n".encode()
    (tmp_path / "g.pgm").write_bytes(header + deep.astype(">u2").tobytes())
    tifffile.imwrite(tmp_path / "little.tif", deep, photometric="minisblack", byteorder="<")
    tifffile.imwrite(tmp_path / "big.tif", deep, photometric="minisblack", byteorder=">")
    tifffile.imwrite(tmp_path / "white.tif", 65535 - deep, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "rgb.tif", np.dstack([deep] * 3), photometric="rgb")
    names = ("g.png", "la.png", "rgb.png", "g.pgm")
    for name in (*names, "little.tif", "big.tif", "white.tif", "rgb.tif"):
        photo = read_photo(tmp_path / name, MOST)
        np.testing.assert_array_equal(photo.grey, deep, name)
        assert photo.dtype == np.uint16
        assert photo.notes == []
    np.testing.assert_array_equal(read_photo(tmp_path / "la.png", MOST).alpha, deep.max() - deep)


def test_16_bit_color_that_opencv_does_not_convert_is_read_with_8_bits_and_a_note(
    tmp_path: Path,
) -> None:
    rgb = np.random.default_rng(6).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    alpha = np.full((20, 30, 1), 65535, np.uint16)
    files: dict[str, tuple[NDArray[np.uint16], dict[str, Any]]] = {
        "profile.tif": (rgb, {"iccprofile": icc_profile(b"RGB ", 2.2)}),
        "associated.tif": (np.dstack([rgb, alpha]), {"extrasamples": ["assocalpha"]}),
        "cmyk.tif": (np.dstack([65535 - rgb, alpha * 0]), {"photometric": "separated"}),
    }
    for name, (pixels, options) in files.items():
        tifffile.imwrite(tmp_path / name, pixels, **{"photometric": "rgb", **options})
    (tmp_path / "deep.ppm").write_bytes(b"P6 30 20 65535\n" + rgb.astype(">u2").tobytes())
    for name in (*files, "deep.ppm"):
        photo = read_photo(tmp_path / name, MOST)
        assert photo.dtype == np.uint8
        assert photo.notes[-1] == "its 16 bits were read as 8"
        if name != "profile.tif":
            lightness = _lightness(np.dstack([photo.grey] * 3), 65535)
            np.testing.assert_allclose(lightness, _lightness(rgb, 65535), atol=0.8)


def test_color_is_reduced_to_its_lightness_and_noted(tmp_path: Path) -> None:
    coffee = data.coffee()[::4, ::4]
    Image.fromarray(coffee).save(tmp_path / "coffee.png")
    photo = read_photo(tmp_path / "coffee.png", MOST)
    lightness = _lightness(np.dstack([photo.grey] * 3), 65535)
    np.testing.assert_allclose(lightness, _lightness(coffee, 255), atol=0.01)
    assert photo.was_colored
    (tmp_path / "sepia.jpg").touch()
    grey = rgb2gray(coffee)[..., None] * [1.0, 0.86, 0.67]
    Image.fromarray((grey * 255).astype(np.uint8)).save(tmp_path / "sepia.jpg", quality=95)
    assert not read_photo(tmp_path / "sepia.jpg", MOST).was_colored


def test_palette_one_bit_and_cmyk_are_read(tmp_path: Path) -> None:
    coffee = Image.fromarray(data.coffee()[::4, ::4])
    palette = coffee.quantize(64)
    for name, picture in {
        "palette.png": palette,
        "palette.gif": palette,
        "cmyk.jpg": coffee.convert("CMYK"),
        "cmyk.tif": coffee.convert("CMYK"),
        "bits.png": coffee.convert("1"),
        "bits.tif": coffee.convert("1"),
    }.items():
        picture.save(tmp_path / name)
        photo = read_photo(tmp_path / name, MOST)
        expected = _lightness(np.asarray(picture.convert("RGB")), 255)
        lightness = _lightness(np.dstack([photo.grey] * 3), 65535)
        assert np.abs(lightness - expected).mean() < (2 if name == "cmyk.jpg" else 0.01), name
        assert photo.was_colored == (not name.startswith("bits"))


@pytest.mark.parametrize("space", [b"GRAY", b"RGB "])
@pytest.mark.parametrize("deep", [False, True])
def test_a_profile_of_grey_is_converted_to_srgb(tmp_path: Path, space: bytes, deep: bool) -> None:
    levels = np.linspace(0, 65535 if deep else 255, 256).round().astype(np.uint16)[None]
    if deep:
        compressed = b"p\0\0" + zlib.compress(icc_profile(space, 1.8))
        chunk = png_chunk(b"iCCP", compressed)
        (tmp_path / "g.png").write_bytes(png16(levels[..., None], chunk))
    else:
        picture = Image.fromarray(levels.astype(np.uint8))
        picture.save(tmp_path / "g.png", icc_profile=icc_profile(space, 1.8))
    photo = read_photo(tmp_path / "g.png", MOST)
    linear = np.linspace(0, 1, 256) ** 1.8
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    level = 1.5 if space == b"RGB " else 0.2
    np.testing.assert_allclose(photo.grey[0] / 257, encoded * 255, atol=level)
    assert photo.notes == ["converted from testing to sRGB"]


def test_a_profile_of_color_is_converted_to_srgb(tmp_path: Path) -> None:
    coffee = Image.fromarray(data.coffee()[::4, ::4])
    profile = icc_profile(b"RGB ", 2.2)
    coffee.save(tmp_path / "adobe.png", icc_profile=profile)
    photo = read_photo(tmp_path / "adobe.png", MOST)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.createProfile("sRGB")
    expected = ImageCms.profileToProfile(coffee, source, target, outputMode="RGB")
    lightness = _lightness(np.dstack([photo.grey] * 3), 65535)
    np.testing.assert_allclose(lightness, _lightness(np.asarray(expected), 255), atol=0.5)
    assert photo.notes == ["converted from testing to sRGB"]


def test_a_profile_of_srgb_changes_nothing_and_a_broken_one_is_noted(tmp_path: Path) -> None:
    coffee = Image.fromarray(data.coffee()[::4, ::4])
    coffee.save(tmp_path / "plain.png")
    plain = read_photo(tmp_path / "plain.png", MOST)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    broken = {"noise": b"noise" * 40, "cut": srgb[:200], "misfit": icc_profile(b"GRAY", 1.8)}
    for name, profile in ({"srgb": srgb} | broken).items():
        for suffix in ("png", "jpg"):
            path = tmp_path / f"{name}.{suffix}"
            picture = coffee if suffix == "png" else coffee.convert("L")
            picture.save(path, icc_profile=profile)
            photo = read_photo(path, MOST)
            if suffix == "png":
                np.testing.assert_array_equal(photo.grey, plain.grey)
            if name == "srgb":
                assert photo.notes == []
            elif name != "misfit" or suffix == "png":
                assert "ICC profile is damaged or does not fit" in photo.notes[0]


def test_alpha_of_every_kind_is_kept(tmp_path: Path) -> None:
    alpha = np.random.default_rng(7).integers(0, 256, (90, 120), dtype=np.uint8)
    cat = _cat()
    la = Image.merge("LA", (Image.fromarray(cat), Image.fromarray(alpha)))
    rgba = Image.merge("RGBA", (*[Image.fromarray(cat)] * 3, Image.fromarray(alpha)))
    for name, picture in {"la.png": la, "la.tif": la, "a.png": rgba, "a.tif": rgba}.items():
        picture.save(tmp_path / name)
        np.testing.assert_array_equal(read_photo(tmp_path / name, MOST).alpha, alpha, name)
    rgba.save(tmp_path / "a.webp", lossless=True, exact=True)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.webp", MOST).alpha, alpha)
    Image.fromarray(cat).save(tmp_path / "key.png", transparency=int(cat[0, 0]))
    key = read_photo(tmp_path / "key.png", MOST)
    np.testing.assert_array_equal(key.alpha, np.where(cat == cat[0, 0], 0, 255))
    np.testing.assert_array_equal(key.grey, cat)


def test_texts_of_exif_are_kept_and_hostile_ones_do_no_harm(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "A. Photographer"
    exif[0x8298] = "© 1915".encode()
    exif[0x0131] = "Scanner 3"
    exif.get_ifd(0x8769)[0x9003] = "1915:06:01 12:00:00"
    Image.fromarray(_cat()).save(tmp_path / "a.jpg", exif=exif)
    tags = read_photo(tmp_path / "a.jpg", MOST).tags
    assert tags == {
        0x013B: "A. Photographer",
        0x8298: "© 1915".encode().decode("latin-1"),
        0x9003: "1915:06:01 12:00:00",
    }
    rng = np.random.default_rng(8)
    for _ in range(30):
        noise = b"Exif\0\0MM\0*\0\0\0\x08" + rng.integers(0, 256, 60, dtype=np.uint8).tobytes()
        Image.fromarray(_cat()).save(tmp_path / "b.jpg", exif=noise)
        assert read_photo(tmp_path / "b.jpg", MOST).grey.size == _cat().size


def _bomb_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b""))
    )


def _bytes(picture: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


def _bad_pictures() -> dict[str, tuple[bytes, str]]:
    cat = Image.fromarray(_cat())
    other = Image.fromarray(255 - _cat())
    frames = {"save_all": True, "append_images": [other]}
    floats, planes = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(floats, _cat().astype(np.float32))
    deep = np.stack([_deep()] * 3)
    tifffile.imwrite(planes, deep, photometric="rgb", planarconfig="separate")
    flipped = bytearray(_bytes(cat, "PNG"))
    flipped[3000] ^= 1
    return {
        "empty.jpg": (b"", "is empty"),
        "text.png": (b"Dear reader, " * 50, "not a picture"),
        "script.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + b"\0" * 40, "is HEIC, which is not supported"),
        "web.avif": (b"\0\0\0\x18ftypavif" + b"\0" * 40, "is AVIF, which is not supported"),
        "cut.jpg": (_bytes(cat, "JPEG")[:-400], "damaged or cut off"),
        "cut.png": (_bytes(cat, "PNG")[:-400], "damaged or cut off"),
        "flipped.png": (bytes(flipped), "damaged or cut off"),
        "cut.tif": (_bytes(cat, "TIFF")[:-400], "damaged or cut off"),
        "cut.webp": (_bytes(cat, "WEBP")[:-400], "damaged"),
        "cut.gif": (_bytes(cat, "GIF")[:-400], "damaged or cut off"),
        "cut.pgm": (_bytes(cat, "PPM")[:-400], "damaged or cut off"),
        "start.jpg": (_bytes(cat, "JPEG")[:60], "damaged"),
        "moving.gif": (_bytes(cat, "GIF", **frames), "several frames"),
        "moving.webp": (_bytes(cat, "WEBP", **frames), "several frames"),
        "moving.png": (_bytes(cat, "PNG", **frames), "several frames"),
        "pages.tif": (_bytes(cat, "TIFF", **frames), "several pages"),
        "bomb.png": (_bomb_png(60_000, 60_000), "source.max_pixels = 10000000"),
        "wide.png": (_bomb_png(70_000, 1), "at most 65535 pixels"),
        "float.tif": (floats.getvalue(), "in an unsupported format"),
        "planes.tif": (planes.getvalue(), "in an unsupported format"),
    }


@pytest.mark.parametrize("name", list(_bad_pictures()))
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    content, reason = _bad_pictures()[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read_photo(path, MOST)
    assert str(path) in caught.value.problem


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in {
        "missing.jpg": "cannot be read: No such file",
        ".": "is a folder",
        "pipe.jpg": "is not a file",
    }.items():
        with pytest.raises(DataError, match=reason):
            read_photo(tmp_path / name, MOST)


def test_cut_16_bit_color_is_refused(tmp_path: Path) -> None:
    content = png16(np.dstack([_deep()] * 3))
    (tmp_path / "cut.png").write_bytes(content[:-300])
    with pytest.raises(DataError, match="damaged or cut off"):
        read_photo(tmp_path / "cut.png", MOST)


def test_the_limit_of_pixels_is_the_one_that_is_given(tmp_path: Path) -> None:
    Image.fromarray(_cat()).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png", 120 * 90).grey.shape == (90, 120)
    with pytest.raises(DataError, match=r"120 × 90 pixels, more than source.max_pixels = 10799"):
        read_photo(tmp_path / "a.png", 120 * 90 - 1)


def test_a_phone_photograph_with_a_preview_is_one_photograph(tmp_path: Path) -> None:
    cat = Image.fromarray(np.dstack([_cat()] * 3))
    preview = Image.fromarray(np.zeros((20, 20, 3), np.uint8))
    cat.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview], quality=100)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "MPO"
    np.testing.assert_allclose(read_photo(tmp_path / "a.jpg", MOST).grey / 257, _cat(), atol=3)
