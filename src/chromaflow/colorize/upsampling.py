"""Small predicted color at the size of the picture, a few rows at a time."""

from abc import ABC, abstractmethod

import cv2
import numpy as np
import numpy.typing as npt
import torch

from chromaflow.colorize.join import Floats
from chromaflow.errors import SettingsError
from chromaflow.refine import guided

_SIGMA_LIGHTNESS = np.float32(6.0)
_LEAST_WEIGHT = np.float32(1e-3)


class _Place:
    """Where rows of the picture lie between those of the small color.

    Args:
        small: Its height.
        top: First row of the picture.
        bottom: The row after the last.
        height: Of the picture.
    """

    def __init__(self, small: int, top: int, bottom: int, height: int) -> None:
        position = (np.arange(top, bottom) + 0.5) * small / height - 0.5
        position = position.clip(0, small - 1)
        self.upper = position.astype(np.intp)
        self.lower = np.minimum(self.upper + 1, small - 1)
        self.weight = (position - self.upper).astype(np.float32)


def _enlarged(planes: Floats, top: int, bottom: int, height: int, width: int) -> Floats:
    """Rows top..bottom of planes resized bilinearly to (height, width)."""
    place = _Place(planes.shape[1], top, bottom, height)
    weight = place.weight[:, None]
    rows = planes[:, place.upper] * (1 - weight) + planes[:, place.lower] * weight
    return np.stack([cv2.resize(plane, (width, bottom - top)) for plane in rows])


class Upsampling(ABC):
    """Gives the color of rows of a picture whose color was predicted small.

    Args:
        ab: Predicted, float32 (2, h, w), CIE units.
        lightness: Of the same size, float32 (h, w), 0..100.
        height: Of the picture.
        width: Of the picture.
    """

    def __init__(self, ab: Floats, lightness: Floats, height: int, width: int) -> None:
        self._ab, self._lightness = ab, lightness
        self._height, self._width = height, width

    @abstractmethod
    def rows(self, top: int, lightness: Floats) -> Floats:
        """Color of rows of the picture.

        Args:
            top: The first of them.
            lightness: Theirs, float32 (n, width), 0..100.

        Returns:
            ab, float32 (2, n, width), CIE units.
        """


class Bilinear(Upsampling):
    """As it is; the lightness of the picture has no say."""

    def rows(self, top: int, lightness: Floats) -> Floats:
        """Color of rows of the picture."""
        bottom = top + len(lightness)
        return _enlarged(self._ab, top, bottom, self._height, self._width)


class Guided(Upsampling):
    """By the guided filter: color as a linear function of the picture's own lightness.

    The function is found at the small size and enlarged: He and Sun, "Fast Guided Filter", 2015.
    """

    def __init__(self, ab: Floats, lightness: Floats, height: int, width: int) -> None:
        super().__init__(ab, lightness, height, width)
        small = torch.from_numpy(lightness)[None, None], torch.from_numpy(ab)[None]
        coefficients = guided.coefficients(*small)
        self._coefficients: Floats = torch.cat(coefficients, dim=1)[0].numpy()

    def rows(self, top: int, lightness: Floats) -> Floats:
        """Color of rows of the picture."""
        bottom = top + len(lightness)
        planes = _enlarged(self._coefficients, top, bottom, self._height, self._width)
        return planes[:2] * lightness + planes[2:]


class JointBilateral(Upsampling):
    """By the joint bilateral filter: near small pixels weigh as their lightness is like one's own.

    Kopf, Cohen, Lischinski and Uyttendaele, "Joint Bilateral Upsampling", SIGGRAPH 2007, over the
    3×3 small pixels around.
    """

    def rows(self, top: int, lightness: Floats) -> Floats:
        """Color of rows of the picture."""
        across = _Place(self._ab.shape[2], 0, self._width, self._width)
        down = _Place(self._ab.shape[1], top, top + len(lightness), self._height)
        places = [
            [(place.upper + (place.weight >= 0.5) + step, place, step) for step in (-1, 0, 1)]
            for place in (down, across)
        ]
        # Where no small pixel is like one's own, the color is the bilinear one.
        weights = np.full(lightness.shape, _LEAST_WEIGHT, np.float32)
        bottom = top + len(lightness)
        color = _LEAST_WEIGHT * _enlarged(self._ab, top, bottom, self._height, self._width)
        for row, of_rows, _ in places[0]:
            for column, of_columns, _ in places[1]:
                y, x = (
                    i.clip(0, n - 1) for i, n in zip((row, column), self._ab.shape[1:], strict=True)
                )
                near = np.multiply.outer(_nearness(row, of_rows), _nearness(column, of_columns))
                unlike = (self._lightness[np.ix_(y, x)] - lightness) / _SIGMA_LIGHTNESS
                weight = near * np.exp(np.float32(-0.5) * unlike * unlike)
                weights += weight
                color += weight * self._ab[:, y[:, None], x]
        return color / weights


def _nearness(index: npt.NDArray[np.intp], place: _Place) -> Floats:
    """Gaussian of the distance to small pixels, whose σ is half of their side."""
    distance = index - (place.upper + place.weight)
    nearness: Floats = np.exp(-2 * distance * distance).astype(np.float32)
    return nearness


UPSAMPLINGS: dict[str, type[Upsampling]] = {
    "bilinear": Bilinear,
    "guided": Guided,
    "joint_bilateral": JointBilateral,
}


def find_upsampling(name: str) -> type[Upsampling]:
    """The upsampling of a name.

    Raises:
        SettingsError: There is none of that name.
    """
    if name not in UPSAMPLINGS:
        raise SettingsError(f"unknown upsampling {name!r}; available: {', '.join(UPSAMPLINGS)}.")
    return UPSAMPLINGS[name]
