import resource
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from skimage import data
from skimage.color import rgb2gray, rgb2lab

from chromaflow.colorize.photo import colorize_photo
from chromaflow.colorize.predictor import Predictor
from chromaflow.colorize.write import StorageError
from chromaflow.errors import DataError, ModelError, UserError
from tests.support.models import TintModel
from tests.support.png_files import png16, png_chunk


def _grey() -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = (rgb2gray(data.astronaut()) * 255).round().astype(np.uint8)
    return grey[:200, :260]


def _alpha() -> NDArray[np.uint8]:
    return np.random.default_rng(9).integers(0, 256, _grey().shape, dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".PNG"])
def test_a_photograph_keeps_size_lightness_and_format(
    tmp_path: Path, tint: Predictor, suffix: str
) -> None:
    source = tmp_path / f"old{suffix}"
    Image.fromarray(_grey()).save(source)
    result = colorize_photo(tint, source, tmp_path / "out")
    assert result == {
        "source": str(source),
        "target": str(tmp_path / "out" / f"old-color{suffix}"),
        "width": 260,
        "height": 200,
        "bits": 8,
        "was_colored": False,
        "notes": [],
    }
    rgb = np.asarray(Image.open(result["target"]))
    np.testing.assert_array_equal(rgb, tint.color(_grey()))
    lightness = rgb2lab(rgb)[..., 0] - rgb2lab(np.dstack([_grey()] * 3))[..., 0]
    assert np.abs(lightness).max() < 0.3


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_lossy_formats_are_written_with_high_quality(
    tmp_path: Path, tint: Predictor, suffix: str
) -> None:
    source = tmp_path / f"old.{suffix}"
    Image.fromarray(_grey()).save(source, quality=95)
    target = colorize_photo(tint, source, tmp_path / "out")["target"]
    with Image.open(target) as image:
        assert image.size == (260, 200)
        if suffix != "webp":
            assert isinstance(image, JpegImageFile)
            assert {layer[1:3] for layer in image.layer} == {(1, 1)}  # no chroma subsampling
        lightness = rgb2lab(np.asarray(image))[..., 0]
    with Image.open(source) as image:
        before = rgb2lab(np.asarray(image.convert("RGB")))[..., 0]
    assert np.abs(lightness - before).mean() < 0.8


@pytest.mark.parametrize("suffix", ["gif", "bmp", "pgm", "picture"])
def test_what_cannot_hold_color_or_is_rare_becomes_png(
    tmp_path: Path, tint: Predictor, suffix: str
) -> None:
    source = tmp_path / f"old.{suffix}"
    Image.fromarray(_grey()).save(source, "PNG" if suffix == "picture" else None)
    target = colorize_photo(tint, source, tmp_path / "out")["target"]
    assert target == str(tmp_path / "out" / "old-color.png")
    rgb = np.asarray(Image.open(target)).astype(int)
    np.testing.assert_allclose(rgb, tint.color(_grey()), atol=1)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_come_back_with_alpha_and_dots_per_inch(
    tmp_path: Path, colorless: Predictor, suffix: str, channels: int
) -> None:
    deep = np.random.default_rng(10).integers(0, 65536, (33, 44), dtype=np.uint16)
    alpha = 65535 - deep
    levels = {1: [deep], 2: [deep, alpha], 3: [deep] * 3, 4: [deep, deep, deep, alpha]}[channels]
    dots = png_chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1))
    (tmp_path / "deep.png").write_bytes(png16(np.dstack(levels), dots))
    target = tmp_path / f"new.{suffix}"
    result = colorize_photo(colorless, tmp_path / "deep.png", target)
    assert (result["bits"], result["notes"]) == (16, [])
    pixels = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels[..., :3], np.dstack([deep] * 3))
    assert pixels.shape[2] == (3 if channels in (1, 3) else 4)
    if channels in (2, 4):
        np.testing.assert_array_equal(pixels[..., 3], alpha)
    with Image.open(target) as image:
        dpi = [float(value) for value in image.info["dpi"]]
    np.testing.assert_allclose(dpi, (300, 150), atol=0.1)


def test_16_bits_are_really_16(tmp_path: Path, tint: Predictor) -> None:
    ramp = np.arange(60_000, dtype=np.uint16).reshape(200, 300)
    (tmp_path / "ramp.png").write_bytes(png16(ramp[..., None]))
    target = colorize_photo(tint, tmp_path / "ramp.png", tmp_path / "out")["target"]
    pixels = cv2.imread(target, cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    np.testing.assert_array_equal(pixels[..., ::-1], tint.color(ramp))
    assert len(np.unique(pixels[..., 1])) > 10_000


def test_16_bits_become_8_in_jpeg_with_a_note(tmp_path: Path, tint: Predictor) -> None:
    deep = np.full((40, 50, 4), 30_000, np.uint16)
    (tmp_path / "deep.png").write_bytes(png16(deep))
    result = colorize_photo(tint, tmp_path / "deep.png", tmp_path / "new.jpg")
    assert result["bits"] == 8
    assert result["notes"] == [
        "written with 8 bits: JPEG supports no more",
        "its alpha was left out: JPEG supports none",
    ]
    result = colorize_photo(tint, tmp_path / "deep.png", tmp_path / "new.webp")
    assert result["notes"] == ["written with 8 bits: WEBP supports no more"]
    alpha = np.asarray(Image.open(tmp_path / "new.webp"))[..., 3]
    assert (alpha == round(30_000 / 257)).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_kept_unchanged(tmp_path: Path, tint: Predictor, suffix: str) -> None:
    picture = Image.merge("LA", (Image.fromarray(_grey()), Image.fromarray(_alpha())))
    picture.save(tmp_path / "old.png")
    colorize_photo(tint, tmp_path / "old.png", tmp_path / f"new.{suffix}")
    pixels = np.asarray(Image.open(tmp_path / f"new.{suffix}"))
    np.testing.assert_array_equal(pixels[..., 3], _alpha())
    if suffix != "webp":
        np.testing.assert_array_equal(pixels[..., :3], tint.color(_grey()))


def test_dots_and_texts_stay_but_neither_rotation_nor_the_grey_thumbnail(
    tmp_path: Path, tint: Predictor
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    exif[0x013B] = "A. Photographer"
    exif[0x8298] = "© 1915".encode()
    exif.get_ifd(0x8769)[0x9003] = "1915:06:01 12:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    Image.fromarray(_grey()).save(tmp_path / "old.jpg", exif=exif, dpi=(600, 300))
    for suffix in ("jpg", "png", "tif", "webp"):
        target = tmp_path / f"new.{suffix}"
        colorize_photo(tint, tmp_path / "old.jpg", target)
        with Image.open(target) as image:
            assert image.size == (200, 260)
            found = image.getexif()
            assert found.get(274, 1) == 1
            assert found[0x013B] == "A. Photographer"
            assert found[0x8298].encode("latin-1") == "© 1915".encode()
            assert "predicted" in found[0x0131]
            assert not found.get_ifd(0x8825)
            if suffix != "tif":
                assert found.get_ifd(0x8769)[0x9003] == "1915:06:01 12:00:00"
            if suffix != "webp":
                dpi = [float(value) for value in image.info["dpi"]]
                np.testing.assert_allclose(dpi, (300, 600), atol=0.1)


def test_a_picture_in_color_is_colored_anew_and_says_so(tmp_path: Path, tint: Predictor) -> None:
    Image.fromarray(data.coffee()[::2, ::2]).save(tmp_path / "coffee.png")
    result = colorize_photo(tint, tmp_path / "coffee.png", tmp_path / "out")
    assert result["was_colored"]
    assert result["notes"] == []
    before = rgb2lab(data.coffee()[::2, ::2])
    after = rgb2lab(np.asarray(Image.open(result["target"])))
    assert np.abs(after - before)[..., 0].max() < 0.3
    assert np.abs(after - before)[..., 1:].mean() > 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_the_smallest_and_the_longest_pictures(
    tmp_path: Path, tint: Predictor, shape: tuple[int, int]
) -> None:
    Image.fromarray(np.full(shape, 99, np.uint8)).save(tmp_path / "a.png")
    target = colorize_photo(tint, tmp_path / "a.png", tmp_path / "out")["target"]
    assert np.asarray(Image.open(target)).shape == (*shape, 3)


def test_nothing_that_may_be_anothers_is_overwritten(tmp_path: Path, tint: Predictor) -> None:
    source, other = tmp_path / "old.png", tmp_path / "other.png"
    Image.fromarray(_grey()).save(source)
    before = source.read_bytes()
    for target in (source, tmp_path / "x" / ".." / "old.png"):
        with pytest.raises(UserError, match=r"old.png is never overwritten"):
            colorize_photo(tint, source, target, overwrite=True)
    (tmp_path / "link.png").symlink_to(source)
    with pytest.raises(UserError, match="never overwritten"):
        colorize_photo(tint, source, tmp_path / "link.png", overwrite=True)
    assert source.read_bytes() == before
    other.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"other.png exists already"):
        colorize_photo(tint, source, other)
    assert other.read_bytes() == b"mine"
    colorize_photo(tint, source, other, overwrite=True)
    assert other.read_bytes() != b"mine"
    colorize_photo(tint, source, tmp_path)
    with pytest.raises(UserError, match=r"old-color.png exists already"):
        colorize_photo(tint, source, tmp_path)
    for _ in range(2):
        colorize_photo(tint, source, tmp_path / "out")


def test_an_unknown_format_of_the_target_is_refused(tmp_path: Path, tint: Predictor) -> None:
    Image.fromarray(_grey()).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"written as \.gif"):
        colorize_photo(tint, tmp_path / "a.png", tmp_path / "b.gif")


def test_what_a_format_cannot_hold_is_refused_by_name(tmp_path: Path, tint: Predictor) -> None:
    Image.fromarray(np.zeros((1, 20_000), np.uint8)).save(tmp_path / "long.png")
    with pytest.raises(DataError, match=r"b.webp cannot be written as WEBP"):
        colorize_photo(tint, tmp_path / "long.png", tmp_path / "b.webp")
    assert [path.name for path in tmp_path.iterdir()] == ["long.png"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_full_disk_stops_by_name_and_leaves_nothing_half_written(
    tmp_path: Path, tint: Predictor, suffix: str
) -> None:
    noise = np.random.default_rng(11).integers(0, 256, (300, 300), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / f"a.{suffix}"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(StorageError, match=rf"a.{suffix} cannot be written: File too large"):
            colorize_photo(tint, tmp_path / "a.png", target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_that_predicts_no_numbers_writes_nothing(tmp_path: Path, tint: Predictor) -> None:
    Image.fromarray(_grey()).save(tmp_path / "a.png")
    assert isinstance(tint.model, TintModel)
    tint.model.strength = float("inf")
    with pytest.raises(ModelError):
        colorize_photo(tint, tmp_path / "a.png", tmp_path / "out")
    assert not list(tmp_path.rglob("*color*"))
