"""Ways from a JPEG file to small pixels, each with its time and its error; for preprocess.py."""

import importlib.metadata
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage import color, transform

from chromaflow.store.decode import color_table, to_stored_lab

Pixels = Any
_JUDGED = 60


def target(height: int, width: int, size: int) -> tuple[int, int]:
    """Width and height with the shorter side `size`."""
    shorter = min(height, width)
    return round(width * size / shorter), round(height * size / shorter)


def shrink(pixels: Pixels, size: int) -> Pixels:
    """As `chromaflow.store.decode` does."""
    shorter = min(pixels.shape[:2])
    method = cv2.INTER_AREA if shorter > 2 * size else cv2.INTER_LINEAR
    return cv2.resize(pixels, target(*pixels.shape[:2], size), interpolation=method)


def by_opencv(content: bytes, size: int) -> Pixels:
    return shrink(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), size)


def by_opencv_area(content: bytes, size: int) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return cv2.resize(pixels, target(*pixels.shape[:2], size), interpolation=cv2.INTER_AREA)


def by_opencv_half(content: bytes, size: int) -> Pixels:
    """Always decoded at a half, and enlarged where that is too small."""
    flag = cv2.IMREAD_REDUCED_COLOR_2
    return shrink(cv2.imdecode(np.frombuffer(content, np.uint8), flag), size)


def by_pillow(content: bytes, size: int) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        return shrink(np.asarray(image.convert("RGB"))[..., ::-1], size)


def by_pillow_resize(content: bytes, size: int) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", target(image.height, image.width, size))
        small = image.convert("RGB").resize(
            target(image.height, image.width, size), Image.Resampling.BILINEAR
        )
        return np.asarray(small)[..., ::-1]


def by_simplejpeg(content: bytes, size: int) -> Pixels:
    import simplejpeg  # noqa: PLC0415

    return shrink(simplejpeg.decode_jpeg(content, colorspace="BGR"), size)


def by_simplejpeg_scaled(content: bytes, size: int) -> Pixels:
    """libjpeg-turbo's scaling in eighths, not by halves alone."""
    import simplejpeg  # noqa: PLC0415

    return shrink(
        simplejpeg.decode_jpeg(content, colorspace="BGR", min_height=size, min_width=size), size
    )


def by_simplejpeg_fast(content: bytes, size: int) -> Pixels:
    import simplejpeg  # noqa: PLC0415

    return shrink(
        simplejpeg.decode_jpeg(content, colorspace="BGR", fastdct=True, fastupsample=True), size
    )


def by_pyvips(content: bytes, size: int) -> Pixels:
    import pyvips  # noqa: PLC0415

    pyvips.cache_set_max(0)
    whole = pyvips.Image.new_from_buffer(content, "")
    width, height = target(whole.height, whole.width, size)
    small = pyvips.Image.thumbnail_buffer(content, width, height=height, size="force")
    return small.colourspace("srgb").numpy()[..., 2::-1]


_WAYS: dict[str, tuple[str, Callable[[bytes, int], Pixels]]] = {
    "OpenCV, bilinear below 2× (kept)": ("opencv-python-headless", by_opencv),
    "OpenCV, area": ("opencv-python-headless", by_opencv_area),
    "OpenCV, always decoded at a half": ("opencv-python-headless", by_opencv_half),
    "Pillow, OpenCV's resize": ("pillow", by_pillow),
    "Pillow with draft, own resize": ("pillow", by_pillow_resize),
    "simplejpeg": ("simplejpeg", by_simplejpeg),
    "simplejpeg, scaled in eighths": ("simplejpeg", by_simplejpeg_scaled),
    "simplejpeg, fast DCT and upsampling": ("simplejpeg", by_simplejpeg_fast),
    "pyvips thumbnail": ("pyvips", by_pyvips),
}


def to_lab_exact(bgr: Pixels) -> Pixels:
    return color.rgb2lab(bgr[..., ::-1])


def by_opencv_lab(bgr: Pixels) -> Pixels:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB)


def by_opencv_float(bgr: Pixels) -> Pixels:
    lab = cv2.cvtColor(bgr.astype(np.float32) / np.float32(255), cv2.COLOR_BGR2LAB)
    return np.rint(lab * np.float32((2.55, 1, 1)) + np.float32((0, 128, 128))).astype(np.uint8)


def by_scikit_image(bgr: Pixels) -> Pixels:
    return np.rint(to_lab_exact(bgr) * (2.55, 1, 1) + (0, 128, 128)).astype(np.uint8)


def timed(function: Callable[[Any], Pixels], items: list[Any], repeats: int) -> float:
    """Milliseconds of processor time an item."""
    turns = []
    for _ in range(repeats):
        start = time.thread_time()
        for item in items:
            function(item)
        turns.append(time.thread_time() - start)
    return 1000 * statistics.median(turns) / len(items)


def delta_e(lab: Pixels, other: Pixels) -> float:
    return float(np.linalg.norm(lab - other, axis=-1).mean())


def compare(paths: list[Path], size: int, repeats: int) -> None:
    """Print a table of decoders with resizing, and one of conversions to stored Lab."""
    cv2.setNumThreads(1)
    contents = [path.read_bytes() for path in paths]
    colored = [c for c in contents if Image.open(io.BytesIO(c)).mode == "RGB"]
    print(f"{len(colored)} photographs, decoded and resized, median of {repeats}\n")
    print("| way | version | ms a photograph | mean ΔE to scikit-image |\n|---|---|---:|---:|")
    exact = [antialiased(content, size) for content in colored[:_JUDGED]]
    for name, (package, way) in _WAYS.items():
        try:
            version = importlib.metadata.version(package)
            small = [way(content, size) for content in colored[:_JUDGED]]
        except ImportError:
            print(f"| {name} | not installed | | |")
            continue
        apart = np.mean([delta_e(to_lab_exact(s), e) for s, e in zip(small, exact, strict=True)])
        took = timed(lambda content, way=way: way(content, size), colored, repeats)
        print(f"| {name} | {version} | {took:.2f} | {apart:.2f} |")
    print("| Pillow-SIMD | no wheel; builds from source alone | | |\n")
    conversions([by_opencv(content, size) for content in colored], repeats)


def antialiased(content: bytes, size: int) -> Pixels:
    rgb = np.asarray(Image.open(io.BytesIO(content)))
    width, height = target(*rgb.shape[:2], size)
    return color.rgb2lab(transform.resize(rgb, (height, width), anti_aliasing=True))


def conversions(small: list[Pixels], repeats: int) -> None:
    table = color_table()
    ways: dict[str, Callable[[Pixels], Pixels]] = {
        "table of all colors (kept for many)": lambda bgr: to_stored_lab(bgr, table),
        "gamma table, OpenCV's float Lab (kept for few)": lambda bgr: to_stored_lab(bgr, None),
        "OpenCV, sRGB float to Lab": by_opencv_float,
        "OpenCV, 8-bit Lab": by_opencv_lab,
        "scikit-image, rounded": by_scikit_image,
    }
    print("| conversion | ms a photograph | mean ΔE to scikit-image | largest |")
    print("|---|---:|---:|---:|")
    for name, way in ways.items():
        took = timed(way, small, repeats if name != "scikit-image, rounded" else 1)
        errors = [
            np.linalg.norm(
                way(bgr) * np.array([100 / 255, 1, 1]) - (0, 128, 128) - to_lab_exact(bgr), axis=-1
            )
            for bgr in small[:_JUDGED]
        ]
        mean, most = np.mean([e.mean() for e in errors]), max(e.max() for e in errors)
        print(f"| {name} | {took:.2f} | {mean:.2f} | {most:.2f} |")
