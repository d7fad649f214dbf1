"""Planes of Y'CbCr: the luma that a frame has in grey, and the planes that it has in color.

Luma is not lightness: two colors of one L differ in luma. So luma is moved by what a color changes
in it, reckoned at the size of the chroma planes, which is a quarter of the pixels; what is sharp in
a frame stays as it was decoded.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from chromaflow.colorize.join import Floats, grey_of_rgb, join_levels

Plane = npt.NDArray[np.uint8]

# Shares of red and blue in luma, by the code of H.273.
_SHARES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
_NEUTRAL = 128
# In codes of 8 bits: what compression leaves in the chroma of grey.
_CHROMA_NOISE = 4
# The narrower of the two spreads of chroma; below it are grey, toned and sepia frames.
_COLOR_SPREAD = 1.0


def resized(plane: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """A plane at another size, by area where it shrinks and bilinearly where it grows."""
    if plane.shape[:2] == (height, width):
        return plane
    shrinks = plane.shape[0] > height or plane.shape[1] > width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    other: npt.NDArray[Any] = cv2.resize(plane, (width, height), interpolation=method)
    return other


def is_colored(planes: tuple[Plane, Plane, Plane]) -> bool:
    """Whether a frame has colors of its own, sepia and toning apart."""
    chroma = np.stack([plane[::4, ::4].ravel() for plane in planes[1:]]).astype(np.float32)
    spreads = np.linalg.eigvalsh(np.cov(chroma, ddof=0)) if chroma.shape[1] > 1 else np.zeros(2)
    return bool(np.sqrt(max(0.0, spreads[0])) > _COLOR_SPREAD)


@dataclass(frozen=True)
class YCbCr:
    """How a video codes color with 8 bits.

    Args:
        matrix: The code of H.273: 1 (BT.709), 5 or 6 (BT.601), 9 (BT.2020).
        full_range: Whether black and white are 0 and 255 rather than 16 and 235.
    """

    matrix: int
    full_range: bool

    def _scale(self) -> tuple[int, int, int]:
        """Code of black, and the codes between black and white, and of a chroma of 1."""
        return (0, 255, 255) if self.full_range else (16, 219, 224)

    def _from_rgb(self) -> npt.NDArray[np.float64]:
        """(3, 4): codes of Y', Cb and Cr from R'G'B' of 8 bits and 1."""
        red, blue = _SHARES[self.matrix]
        black, luma, chroma = self._scale()
        y = np.array([red, 1 - red - blue, blue])
        cb = (np.array([0, 0, 1]) - y) / (2 * (1 - blue))
        cr = (np.array([1, 0, 0]) - y) / (2 * (1 - red))
        rows = np.stack([y * luma, cb * chroma, cr * chroma]) / 255
        return np.column_stack([rows, [black, _NEUTRAL, _NEUTRAL]])

    def grey_levels(self) -> npt.NDArray[np.uint16]:
        """The sRGB grey, 16 bits, of each code of luma, (256,)."""
        black, luma, _ = self._scale()
        share = ((np.arange(256) - black) / luma).clip(0, 1)
        return np.round(share * 65535).astype(np.uint16)

    def _code(self, grey: npt.NDArray[np.uint16]) -> Floats:
        black, luma, _ = self._scale()
        return grey * np.float32(luma / 65535) + np.float32(black)

    def grey_luma(self, planes: tuple[Plane, Plane, Plane]) -> Plane:
        """The luma of the grey of the same L as each pixel has.

        Args:
            planes: Y' (H, W), Cb and Cr of any size.

        Returns:
            (H, W); the frame's own luma where it has no color.
        """
        luma, cb, cr = planes
        strays = [np.abs(plane[::4, ::4].astype(np.int16) - _NEUTRAL).max() for plane in (cb, cr)]
        if max(strays) <= _CHROMA_NOISE:
            return luma
        codes = np.dstack([resized(luma, *cb.shape), cb, cr]).astype(np.float32)
        forward = self._from_rgb()
        inverse = np.linalg.inv(forward[:, :3])
        offset = -inverse @ forward[:, 3]
        rgb = cv2.transform(codes, np.column_stack([inverse, offset]))
        grey = grey_of_rgb(np.round(rgb).clip(0, 255).astype(np.uint8))
        return _moved(luma, self._code(grey) - codes[..., 0])

    def color_planes(self, luma: Plane, ab: Floats, divisor: int) -> tuple[Plane, Plane, Plane]:
        """Color a grey frame, keeping its L.

        Args:
            luma: Of the grey frame, (H, W); H and W multiples of the divisor.
            ab: float32 (2, h, w), CIE units, of any size.
            divisor: Side of a pixel of the chroma planes, pixels: 2 for 4:2:0, 1 for 4:4:4.

        Returns:
            Y' (H, W), Cb and Cr (H / divisor, W / divisor). With ab = 0 the luma as it was.
        """
        size = luma.shape[0] // divisor, luma.shape[1] // divisor
        grey = self.grey_levels()[resized(luma, *size)]
        rgb = join_levels(grey, np.stack([resized(plane, *size) for plane in ab]), np.uint16)
        codes = cv2.transform(rgb.astype(np.float32), self._from_rgb() * ([1 / 257] * 3 + [1]))
        cb, cr = (np.round(codes[..., i]).clip(0, 255).astype(np.uint8) for i in (1, 2))
        return _moved(luma, codes[..., 0] - self._code(grey)), cb, cr


def _moved(luma: Plane, by: Floats) -> Plane:
    codes: Plane = cv2.add(luma, resized(by, *luma.shape), dtype=cv2.CV_8U)
    return codes
