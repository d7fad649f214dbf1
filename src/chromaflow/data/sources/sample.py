"""The sample: tiles of the color photographs that scikit-image ships inside its package.

Nothing is downloaded. The tiles are cut at full and at half size and stored as uncompressed PNG
files that are put together here, so that every machine gets the same bytes whatever its build of
zlib and Pillow.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chromaflow.data.sources.base import Opener, Record, draw
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import DownloadSettings
from chromaflow.settings.sources import SampleSource

# Tiles of one size that a photograph gives at most; the two views of a scene share them.
MOST_TILES = 72
_STORED_BLOCK = 65_535


@dataclass(frozen=True)
class Photograph:
    """One file of scikit-image.

    Args:
        file: Its name in the package.
        url: What its tiles share; pictures of one scene have one url.
        view: Distinguishes pictures of one scene; empty where there is one.
        license: As scikit-image's documentation states it.
    """

    file: str
    url: str
    view: str
    license: str


PHOTOGRAPHS = (
    Photograph("astronaut.png", "skimage:astronaut.png", "", "public domain (NASA)"),
    Photograph("chelsea.png", "skimage:chelsea.png", "", "CC0 (Stefan van der Walt)"),
    Photograph("coffee.png", "skimage:coffee.png", "", "CC0 (Rachel Michetti)"),
    Photograph("rocket.jpg", "skimage:rocket.jpg", "", "public domain (SpaceX)"),
    Photograph(
        "hubble_deep_field.jpg", "skimage:hubble_deep_field.jpg", "", "public domain (NASA)"
    ),
    Photograph("ihc.png", "skimage:ihc.png", "", "no known copyright restrictions (CMMI)"),
    Photograph("retina.jpg", "skimage:retina.jpg", "", "CC0 (Mikael Häggström)"),
    Photograph(
        "motorcycle_left.png", "skimage:motorcycle", "left,", "unstated (Middlebury stereo 2014)"
    ),
    Photograph(
        "motorcycle_right.png", "skimage:motorcycle", "right,", "unstated (Middlebury stereo 2014)"
    ),
)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """An uncompressed PNG file whose bytes depend on the pixels alone.

    Args:
        pixels: RGB, uint8 (H,W,3).
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + width * 3), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    raw = rows.tobytes()
    blocks = [raw[start : start + _STORED_BLOCK] for start in range(0, len(raw), _STORED_BLOCK)]
    body = b"".join(
        struct.pack("<BHH", block is blocks[-1], len(block), len(block) ^ 0xFFFF) + block
        for block in blocks
    )
    stream = b"\x78\x01" + body + struct.pack(">I", zlib.adler32(raw))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", stream), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _folder() -> Path:
    return Path(str(resources.files("skimage"))) / "data"


@lru_cache(maxsize=1)
def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _grid(width: int, height: int, side: int, tile: int, most: int) -> list[tuple[int, int]]:
    """Corners of the squares of a side, in the closest grid that makes at most so many."""
    step = max(1, tile // 4) * side // tile
    while True:
        corners = [
            (x, y)
            for y in range(0, height - side + 1, step)
            for x in range(0, width - side + 1, step)
        ]
        if len(corners) <= most:
            return corners
        step *= 2


def _cut(path: Path, x: int, y: int, side: int, tile: int) -> bytes:
    square = _pixels(path)[y : y + side, x : x + side].astype(np.uint16)
    if side > tile:
        # Whole numbers round alike everywhere, other than a resizing filter in floating point.
        square = (
            square[::2, ::2] + square[1::2, ::2] + square[::2, 1::2] + square[1::2, 1::2] + 2
        ) // 4
    return encode_png(square.astype(np.uint8))


class Sample:
    """Tiles of scikit-image's photographs; see `chromaflow.data.sources.base.Source`.

    The url is `skimage:<file>#<x>,<y>,<side>`, in pixels of the photograph; a square of twice the
    tile's side is reduced to half. Every photograph gives at most 72 tiles of a size, so that large
    ones do not outnumber the others.

    Raises:
        DataError: The photographs are not there, or all smaller than a tile.
    """

    skipped = 0

    def __init__(
        self, _project: Project, settings: SampleSource, _download: DownloadSettings
    ) -> None:
        self._tile = settings.tile
        self._tiles = [
            (photograph, corner, side)
            for photograph in PHOTOGRAPHS
            for side in (self._tile, 2 * self._tile)
            for corner in self._corners(photograph, side)
        ]
        if not self._tiles:
            raise DataError(
                f"source.tile = {self._tile}: no photograph of the sample is that large.",
                "chromaflow ingest --set source.tile=128",
            )
        self._tiles = draw(self._tiles, self._url, settings)

    @staticmethod
    def _url(tile: tuple[Photograph, tuple[int, int], int]) -> str:
        photograph, (x, y), side = tile
        return f"{photograph.url}#{photograph.view}{x},{y},{side}"

    @property
    def total(self) -> int:
        """How many tiles there are."""
        return len(self._tiles)

    def _corners(self, photograph: Photograph, side: int) -> list[tuple[int, int]]:
        views = sum(other.url == photograph.url for other in PHOTOGRAPHS)
        try:
            with Image.open(_folder() / photograph.file) as image:
                return _grid(*image.size, side, self._tile, MOST_TILES // views)
        except OSError as error:
            raise DataError(
                f"source.name = sample: scikit-image's {photograph.file} cannot be read: {error}",
                "python -m pip install --force-reinstall scikit-image",
            ) from None

    def records(self) -> Iterator[Record]:
        """The tiles, photograph after photograph."""
        for tile in self._tiles:
            photograph, (x, y), side = tile
            path = _folder() / photograph.file
            yield Record(
                url=self._url(tile),
                label=photograph.url.removeprefix("skimage:").partition(".")[0],
                license=photograph.license,
                extension=".png",
                read=partial(_cut, path, x, y, side, self._tile),
            )


SOURCE: Opener = Sample
