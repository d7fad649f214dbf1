"""A user's hints about the colors of a photograph: read from files and texts for a network."""

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import ImageColor
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from chromaflow.color.lab import rgb_to_lab
from chromaflow.colorize.join import Floats, Levels
from chromaflow.colorize.read import read_color
from chromaflow.errors import DataError, SettingsError
from chromaflow.models.global_hints import (
    HISTOGRAM,
    SATURATION,
    color_histogram,
    global_hints,
)
from chromaflow.models.networks.base import Hints
from chromaflow.settings.sources import MAX_PIXELS

# Levels of 255: what a lossy format changes without a stroke.
_TOLERANCE = 16
# Whoever draws on a photograph leaves more of it than this.
_MOST_DRAWN = 0.5
# Of a pixel's area: less is rounding.
_LEAST_AREA = 1e-6
_REFERENCE_SIDE = 256
_FORMAT = (
    'write {"points": [{"x": 40, "y": 25, "color": "#aa3311", "radius": 3}]}, x and y in pixels '
    "of the photograph from its upper left corner"
)


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Point(_Group):
    x: float
    y: float
    color: str | tuple[int, int, int]
    radius: float = Field(3.0, ge=0, le=100_000)


class _PointFile(_Group):
    points: list[_Point] = Field(min_length=1)


def _ab_of(rgb: npt.NDArray[Any]) -> Floats:
    """Color, ab float32 (2, N), of sRGB (N, 3) in 0..255."""
    planes = torch.from_numpy(np.ascontiguousarray(rgb.T)).float()[:, :, None] / 255
    ab: Floats = rgb_to_lab(planes)[1:, :, 0].numpy()
    return ab


def _parse_color(color: str | Sequence[int]) -> tuple[int, ...]:
    """sRGB, 0..255, of #rrggbb, three numbers, or a name of CSS.

    Raises:
        ValueError: It is none; says so.
    """
    if not isinstance(color, str):
        if min(color) < 0 or max(color) > 255:
            raise ValueError(f"color {list(color)} is not in 0..255")
        return tuple(color)
    try:
        return ImageColor.getrgb(color.strip())[:3]
    except ValueError:
        near = difflib.get_close_matches(color.lower(), ImageColor.colormap, n=3, cutoff=0.6)
        meant = f"; did you mean {', '.join(near)}?" if near else ""
        raise ValueError(f"color {color!r} is not known{meant}") from None


class Points:
    """Disks of color, later ones over earlier ones.

    Args:
        path: The file that they come from.
        points: Their places and radii in pixels of the photograph, and their colors.

    Raises:
        DataError: A color that is not known.
    """

    most = 1.0

    def __init__(self, path: Path, points: Sequence[_Point]) -> None:
        self.path, self._points = path, points
        colors = []
        for number, point in enumerate(points, 1):
            try:
                colors.append(_parse_color(point.color))
            except ValueError as error:
                remedy = "write #rrggbb, [r, g, b] in 0..255, or a name such as teal"
                raise DataError(f"{path}: point {number}: {error}", remedy) from None
        self._ab = _ab_of(np.array(colors)).T

    def check(self, height: int, width: int) -> None:
        """Refuse a photograph that a point lies outside of.

        Raises:
            DataError: One does; by its number.
        """
        for number, point in enumerate(self._points, 1):
            if not (0 <= point.x <= width - 1 and 0 <= point.y <= height - 1):
                raise DataError(
                    f"{self.path}: point {number} at x = {point.x:g}, y = {point.y:g} is outside "
                    f"the photograph, which is {width} × {height} pixels.",
                    "x ranges from 0 to width - 1, y from 0 to height - 1",
                )

    def rows(self, grey: Levels, rows: slice) -> tuple[Floats, Floats]:
        """Color, (2, n, W), of some rows of the photograph; and whether it is a hint, (n, W)."""
        width = grey.shape[1]
        ab = np.zeros((2, rows.stop - rows.start, width), np.float32)
        weight = np.zeros(ab.shape[1:], np.float32)
        for point, color in zip(self._points, self._ab, strict=True):
            x, y, radius = round(point.x), round(point.y), point.radius
            if y + radius < rows.start or y - radius > rows.stop - 1:
                continue
            # More than the photograph is wide is as good as that.
            reach = min(math.floor(radius), width)
            columns = slice(max(0, x - reach), x + reach + 1)
            down = np.arange(rows.start, rows.stop)[:, None] - y
            across = np.arange(*columns.indices(width)) - x
            inside = down**2 + across**2 <= radius**2
            ab[:, :, columns][:, inside] = color[:, None]
            weight[:, columns][inside] = 1
        return ab, weight


class Strokes:
    """Colors drawn on a transparent layer, or on the photograph itself.

    Args:
        path: The picture: where it is transparent there is no hint; where it is opaque all over,
            its hints are the pixels that differ from the photograph.
        max_pixels: A larger picture is refused before it is decoded.

    Raises:
        DataError: The picture cannot be read.
    """

    def __init__(self, path: Path, max_pixels: int) -> None:
        self.path = path
        self._rgb, self._alpha = read_color(path, max_pixels)
        self.most = _MOST_DRAWN if self._alpha is None else 1.0

    def check(self, height: int, width: int) -> None:
        """Refuse a photograph of another size.

        Raises:
            DataError: It is.
        """
        own_height, own_width = self._rgb.shape[:2]
        if (own_height, own_width) != (height, width):
            raise DataError(
                f"{self.path} is {own_width} × {own_height} pixels, but the photograph is "
                f"{width} × {height}.",
                "draw the strokes on a copy of the photograph, or on a layer of its size",
            )

    def rows(self, grey: Levels, rows: slice) -> tuple[Floats, Floats]:
        """Color, (2, n, W), of some rows of the photograph; and the opacity of hints, (n, W)."""
        rgb = self._rgb[rows]
        if self._alpha is None:
            levels = grey[rows] if grey.dtype == np.uint8 else (grey[rows] // 257).astype(np.uint8)
            different = cv2.absdiff(rgb, np.dstack([levels] * 3)).max(axis=2)
            weight = (different > _TOLERANCE).astype(np.float32)
        else:
            weight = self._alpha[rows].astype(np.float32) / 255
        # OpenCV's Lab is off by less than half a unit, less than a hand that draws, and fast.
        lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        return lab[..., 1:].transpose(2, 0, 1), weight


def _area_sums(planes: npt.NDArray[Any], cells: int) -> npt.NDArray[np.float64]:
    """Sums of (…, pixels) over the area of each cell of a row that is divided into so many."""
    pixels = planes.shape[-1]
    sums = np.zeros((*planes.shape[:-1], pixels + 1))
    np.cumsum(planes, axis=-1, dtype=np.float64, out=sums[..., 1:])
    edges = np.arange(cells + 1) * pixels / cells
    before = np.minimum(edges.astype(np.intp), pixels - 1)
    return np.diff(sums[..., before] + (edges - before) * planes[..., before], axis=-1)


def _local_hints(local: Points | Strokes, grey: Levels, height: int, width: int) -> Tensor:
    """Hints at the size of the network, (3, h, w): the mean color by area where any hint falls."""
    tall, wide = grey.shape
    local.check(tall, wide)
    sums = np.empty((3, height, width))
    for row in range(height):
        # Only what one row of the network covers is held, however large the photograph.
        rows = slice(row * tall // height, -(-(row + 1) * tall // height))
        index = np.arange(rows.start, rows.stop)
        share = np.minimum(index + 1, (row + 1) * tall / height)
        share -= np.maximum(index, row * tall / height)
        ab, weight = local.rows(grey, rows)
        weight = weight * share[:, None]
        totals = np.concatenate([(ab * weight).sum(axis=1), weight.sum(axis=0)[None]])
        sums[:, row] = _area_sums(totals, width)
    area = sums[2]
    drawn = area > _LEAST_AREA
    if not drawn.any():
        raise DataError(f"{local.path} holds no strokes.", "draw some, in color")
    if area.sum() > local.most * tall * wide:
        raise DataError(
            f"{local.path} differs from the photograph nearly everywhere.",
            "draw on a grey copy of the photograph, or on a transparent layer of its size",
        )
    ab = np.where(drawn, sums[:2] / np.where(drawn, area, 1), 0)
    return torch.from_numpy(np.concatenate([ab, drawn[None]])).float()


@dataclass(frozen=True)
class UserHints:
    """Hints for a photograph of any size.

    Args:
        global_hints: As of `Hints.global_hints`, (316,).
        local: Points or strokes; None where there are none.
    """

    global_hints: Tensor
    local: Points | Strokes | None = None

    def check_sources(self, sources: Sequence[Path]) -> None:
        """Refuse several photographs where points or strokes are for one.

        Raises:
            SettingsError: There are several, or a folder of them.
        """
        if self.local is not None and (len(sources) != 1 or sources[0].is_dir()):
            raise SettingsError(
                f"{self.local.path} is for one photograph, but several are to be colored.",
                "give that one photograph; a palette, a reference or a saturation may apply to "
                "many",
            )

    def guide(
        self, grey: Levels, height: int, width: int, device: torch.device | str = "cpu"
    ) -> Hints:
        """Hints as a network takes them.

        Args:
            grey: The photograph, (H, W), uint8 or uint16.
            height: Rows that the network sees.
            width: Columns that the network sees.
            device: Of the network.

        Returns:
            Hints for a batch of one.

        Raises:
            DataError: Points outside the photograph, strokes of another size or none at all.
        """
        if self.local is None:
            local = torch.zeros(3, height, width)
        else:
            local = _local_hints(self.local, grey, height, width)
        return Hints(local[None].to(device), self.global_hints[None].to(device))


def _place(location: tuple[int | str, ...]) -> str:
    """Where in a file of points something is wrong; points are counted from 1."""
    if len(location) < 2:
        return "".join(f"{name}: " for name in location)
    # What follows the name only lists the types that a color may have.
    return f"point {int(location[1]) + 1}: " + "".join(f"{name}: " for name in location[2:3])


def _read_local(path: Path, max_pixels: int) -> Points | Strokes:
    if path.suffix.lower() != ".json":
        return Strokes(path, max_pixels)
    try:
        points = _PointFile.model_validate_json(path.read_bytes()).points
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(f"{path}: {_place(first['loc'])}{first['msg']}", _FORMAT) from None
    return Points(path, points)


def _read_palette(palette: str | Path) -> Tensor:
    """Histogram of a palette, (313,): its colors in equal shares."""
    where, text = "--palette", str(palette)
    if isinstance(palette, Path):
        where = str(palette)
        try:
            text = palette.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{palette} cannot be read: {error}") from None
    try:
        colors = [_parse_color(part) for part in re.split(r"[\s,;]+", text) if part]
        if not colors:
            raise ValueError("there is no color")
    except ValueError as error:
        remedy = 'write colors such as "#aa3311, teal", or give a text file that holds them'
        raise DataError(f"{where}: {error}", remedy) from None
    return color_histogram(torch.from_numpy(_ab_of(np.array(colors)))[None, :, None])[0]


def _read_reference(path: Path, max_pixels: int) -> Tensor:
    """The global hints of a picture, (316,)."""
    rgb, _ = read_color(path, max_pixels)
    side = (_REFERENCE_SIDE, _REFERENCE_SIDE)
    small = torch.from_numpy(cv2.resize(rgb, side, interpolation=cv2.INTER_AREA))
    lab = rgb_to_lab(small.permute(2, 0, 1)[None] / 255)
    return global_hints(lab[:, :1], lab[:, 1:])[0]


def read_hints(
    local: Path | None = None,
    *,
    palette: str | Path = "",
    reference: Path | None = None,
    saturation: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> UserHints | None:
    """Read a user's hints about colors; the lightness of a hint is ignored.

    Args:
        local: A JSON file, {"points": [{"x", "y", "color", "radius"}]} in pixels of the photograph;
            or a picture of its size with strokes.
        palette: Colors, #rrggbb or names of CSS, with commas; or a text file of them.
        reference: A picture whose histogram of colors and mean saturation are to be followed.
        saturation: Mean saturation (HSV), 0..1; goes before that of the reference.
        max_pixels: A larger picture is refused before it is decoded.

    Returns:
        None where no hint is given.

    Raises:
        DataError: A file that cannot be read or is of the wrong format, or an unknown color.
        SettingsError: Palette and reference together, or a saturation out of its range.
    """
    if not (local or palette or reference) and saturation is None:
        return None
    if palette and reference:
        raise SettingsError(
            "--palette and --reference both set the colors.", "give one or the other"
        )
    if saturation is not None and not 0 <= saturation <= 1:
        raise SettingsError(f"--saturation {saturation:g} is not in 0..1")
    numbers = torch.zeros(SATURATION.stop)
    if reference:
        numbers = _read_reference(reference, max_pixels)
    if palette:
        numbers[HISTOGRAM] = torch.cat((_read_palette(palette), torch.ones(1)))
    if saturation is not None:
        numbers[SATURATION] = torch.tensor([saturation, 1.0])
    return UserHints(numbers, _read_local(local, max_pixels) if local else None)
