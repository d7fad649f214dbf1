"""Ways from a JPEG file to small pixels, each with its time and its error.

    python benchmarks/decoders.py --images FOLDER

Times are processor time, so other work on the machine shows little. The last line is
the real step on a temporary checkout: archive, SHA-256, Lab, statistics and shards on disk.
"""

import argparse
import importlib.metadata
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image
from skimage import color, transform

from chromaflow.data.store.decode import color_table, photograph_to_lab, to_stored_lab
from chromaflow.data.store.write import write_store
from chromaflow.settings import Settings
from common.machine import machine, rates
from common.photographs import make_project, photographs, repeated

Pixels = Any
_JUDGED = 60
_REDUCED = ((4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def target(height: int, width: int, size: int) -> tuple[int, int]:
    """Width and height with the shorter side `size`."""
    shorter = min(height, width)
    return round(width * size / shorter), round(height * size / shorter)


def target_of(pixels: Pixels, size: int) -> tuple[int, int]:
    """The same of an image (H, W, 3)."""
    return target(pixels.shape[0], pixels.shape[1], size)


def shrink(pixels: Pixels, size: int) -> Pixels:
    """As `chromaflow.data.store.decode` does."""
    shorter = min(pixels.shape[:2])
    method = cv2.INTER_AREA if shorter > 2 * size else cv2.INTER_LINEAR
    return cv2.resize(pixels, target_of(pixels, size), interpolation=method)


class Way(NamedTuple):
    """A package, how it decodes, and how its pixels become small, blue, green, red."""

    package: str
    decode: Callable[[bytes, int], Pixels]
    finish: Callable[[Pixels, int], Pixels] = shrink

    def decode_to(self, size: int, content: bytes) -> Pixels:
        """As it decodes where pictures become small."""
        return self.decode(content, size)

    def small(self, size: int, content: bytes) -> Pixels:
        """Decoded and made small."""
        return self.finish(self.decode(content, size), size)


def by_opencv(content: bytes, _: int) -> Pixels:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def by_opencv_reduced(content: bytes, size: int) -> Pixels:
    """libjpeg-turbo's scaled decoding by halves, wherever the size allows it."""
    with Image.open(io.BytesIO(content)) as image:
        shorter = min(image.size)
    flag = next((flag for by, flag in _REDUCED if shorter >= by * size), cv2.IMREAD_COLOR)
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)


def by_opencv_half(content: bytes, _: int) -> Pixels:
    """Always at a half, and enlarged where that is too small."""
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)


def area(pixels: Pixels, size: int) -> Pixels:
    return cv2.resize(pixels, target_of(pixels, size), interpolation=cv2.INTER_AREA)


def by_pillow(content: bytes, _: int) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))[..., ::-1]


def by_pillow_draft(content: bytes, size: int) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", target(image.height, image.width, size))
    return image.convert("RGB")


def by_pillow_resize(image: Image.Image, size: int) -> Pixels:
    small = image.resize(target(image.height, image.width, size), Image.Resampling.BILINEAR)
    return np.asarray(small)[..., ::-1]


def by_simplejpeg(content: bytes, _: int, **options: Any) -> Pixels:
    import simplejpeg  # noqa: PLC0415

    return simplejpeg.decode_jpeg(content, colorspace="BGR", **options)


def by_simplejpeg_scaled(content: bytes, size: int) -> Pixels:
    """libjpeg-turbo's scaling in eighths, not by halves alone."""
    return by_simplejpeg(content, size, min_height=size, min_width=size)


def by_simplejpeg_fast(content: bytes, size: int) -> Pixels:
    return by_simplejpeg(content, size, fastdct=True, fastupsample=True)


def by_pyturbojpeg(content: bytes, _: int) -> Pixels:
    import turbojpeg  # noqa: PLC0415

    return _KEPT.setdefault("turbojpeg", turbojpeg.TurboJPEG()).decode(content)


def by_torchvision(content: bytes, _: int) -> Pixels:
    import torch  # noqa: PLC0415
    import torchvision  # noqa: PLC0415

    torch.set_num_threads(1)
    encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    mode = torchvision.io.ImageReadMode.RGB
    return torchvision.io.decode_jpeg(encoded, mode).permute(1, 2, 0).flip(2).numpy()


def by_pyvips(content: bytes, _: int) -> Pixels:
    import pyvips  # noqa: PLC0415

    pyvips.cache_set_max(0)
    return pyvips.Image.new_from_buffer(content, "").colourspace("srgb").numpy()[..., 2::-1]


def by_pyvips_thumbnail(content: bytes, size: int) -> Pixels:
    import pyvips  # noqa: PLC0415

    pyvips.cache_set_max(0)
    whole = pyvips.Image.new_from_buffer(content, "")
    width, height = target(whole.height, whole.width, size)
    small = pyvips.Image.thumbnail_buffer(content, width, height=height, size="force")
    return small.colourspace("srgb").numpy()[..., 2::-1]


_KEPT: dict[str, Any] = {}
_OPENCV = "opencv-python-headless"
_WAYS = {
    "OpenCV, whole": Way(_OPENCV, by_opencv),
    "OpenCV, by halves, bilinear below 2× (kept)": Way(_OPENCV, by_opencv_reduced),
    "OpenCV, by halves, area": Way(_OPENCV, by_opencv_reduced, area),
    "OpenCV, always at a half": Way(_OPENCV, by_opencv_half),
    "Pillow, OpenCV's resize": Way("pillow", by_pillow),
    "Pillow with draft, own resize": Way("pillow", by_pillow_draft, by_pillow_resize),
    "simplejpeg (libjpeg-turbo)": Way("simplejpeg", by_simplejpeg),
    "simplejpeg, scaled in eighths": Way("simplejpeg", by_simplejpeg_scaled),
    "simplejpeg, fast DCT and upsampling": Way("simplejpeg", by_simplejpeg_fast),
    "PyTurboJPEG": Way("pyturbojpeg", by_pyturbojpeg),
    "torchvision": Way("torchvision", by_torchvision),
    "pyvips, OpenCV's resize": Way("pyvips", by_pyvips),
    "pyvips, thumbnail": Way("pyvips", by_pyvips_thumbnail),
}


def to_lab_exact(bgr: Pixels) -> Pixels:
    return color.rgb2lab(bgr[..., ::-1])


def by_opencv_lab(bgr: Pixels) -> Pixels:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB)


def by_opencv_float(bgr: Pixels) -> Pixels:
    lab = cv2.cvtColor(bgr.astype(np.float32) / np.float32(255), cv2.COLOR_BGR2LAB)
    return np.rint(
        lab * np.array((2.55, 1, 1), np.float32) + np.array((0, 128, 128), np.float32)
    ).astype(np.uint8)


def by_scikit_image(bgr: Pixels) -> Pixels:
    return np.rint(to_lab_exact(bgr) * (2.55, 1, 1) + (0, 128, 128)).astype(np.uint8)


def timed(function: Callable[[Any], Pixels], items: list[Any], repeats: int) -> float:
    """Milliseconds of processor time an item."""
    turns = []
    for _ in range(repeats):
        # Of all threads: pyvips has its own.
        start = time.process_time()
        for item in items:
            function(item)
        turns.append(time.process_time() - start)
    return 1000 * statistics.median(turns) / len(items)


def delta_e(lab: Pixels, other: Pixels) -> float:
    return float(np.linalg.norm(lab - other, axis=-1).mean())


def compare(contents: list[bytes], size: int, repeats: int) -> None:
    """Print a table of decoders."""
    print("Pillow-SIMD replaces Pillow and has no wheel: build it in an environment of its own.\n")
    print("| way | version | decoded/s | and resized/s | mean ΔE to scikit-image |")
    print("|---|---|---:|---:|---:|")
    exact = [antialiased(content, size) for content in contents[:_JUDGED]]
    for name, way in _WAYS.items():
        try:
            version = importlib.metadata.version(way.package)
            small = [way.small(size, content) for content in contents[:_JUDGED]]
        except (ImportError, RuntimeError) as error:
            print(f"| {name} | not to be had: {str(error).splitlines()[0]} | | | |")
            continue
        # Scaled decoding rounds sides up, which may make a picture a pixel longer.
        pairs = [(s, e) for s, e in zip(small, exact, strict=True) if s.shape == e.shape]
        apart = np.mean([delta_e(to_lab_exact(s), e) for s, e in pairs])
        took = timed(partial(way.decode_to, size), contents, repeats)
        both = timed(partial(way.small, size), contents, repeats)
        print(f"| {name} | {version} | {1000 / took:.0f} | {1000 / both:.0f} | {apart:.2f} |")


def whole_step(given: argparse.Namespace, contents: list[bytes], folder: Path) -> None:
    """Print what the real step reaches of decoding alone, each turn beside the other."""
    paths = photographs(given.images, folder / "images", given.count)
    project = make_project(folder / "project", repeated(paths, given.count))
    settings = Settings.model_validate(
        {"preprocess": {"size": given.size}, "runtime": {"processes": 1}}
    )
    table = color_table()
    turns: dict[str, list[float]] = {}
    for _ in range(given.repeats):
        turn = {
            "OpenCV's decoding alone": 1000
            / timed(lambda c: by_opencv(c, given.size), contents, 1),
            "photograph to Lab, in memory": 1000
            / timed(lambda c: photograph_to_lab(c, given.size, 10**9, table), contents, 1),
            "chromaflow preprocess, one process": rates(
                given.count, lambda: write_store(project, settings)
            )[1],
        }
        for path in project.lab.rglob("*.bin"):
            path.unlink()
        for name, rate in turn.items():
            turns.setdefault(name, []).append(rate)
    print(f"\n{given.count} photographs in the real step, the others as above\n")
    print("| what | photographs/s of one core | of decoding alone |\n|---|---:|---:|")
    alone = turns["OpenCV's decoding alone"]
    for name, found in turns.items():
        share = statistics.median(one / other for one, other in zip(found, alone, strict=True))
        print(f"| {name} | {statistics.median(found):.0f} | {share:.0%} |")


def antialiased(content: bytes, size: int) -> Pixels:
    rgb = np.asarray(Image.open(io.BytesIO(content)))
    width, height = target_of(rgb, size)
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=Path, help="folder of JPEG files (default: scikit-image's)"
    )
    parser.add_argument("--count", type=int, default=4000, help="photographs of the real step")
    parser.add_argument("--distinct", type=int, default=300, help="of the other ways")
    parser.add_argument("--size", type=int, default=256, help="shorter side, pixels")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = photographs(given.images, folder / "distinct", given.distinct)
        contents = [path.read_bytes() for path in paths]
        colored = [c for c in contents if Image.open(io.BytesIO(c)).mode == "RGB"]
        print(f"{len(colored)} photographs to {given.size} pixels, median of {given.repeats}\n")
        compare(colored, given.size, given.repeats)
        whole_step(given, colored, folder)
        print()
        conversions([shrink(by_opencv(c, given.size), given.size) for c in colored], given.repeats)


if __name__ == "__main__":
    main()
