"""Grey levels and ab joined to sRGB, keeping L: a color that sRGB lacks loses chroma.

OpenCV's Lab is off by up to half a unit, and clipping RGB would change L by far more.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from chromaflow.color.constants import XYZ_FROM_RGB, linear_from_srgb

Floats = npt.NDArray[np.float32]
Levels = npt.NDArray[Any]

# The white is the sum of each row, not rounded, so that ab = 0 is exactly neutral.
_XYZ_FROM_RGB = np.array(XYZ_FROM_RGB)
_WHITE = _XYZ_FROM_RGB.sum(axis=1)
_RGB_FROM_WHITE_XYZ = (np.linalg.inv(_XYZ_FROM_RGB) * _WHITE).astype(np.float32)
_CURVE_KNEE = 0.2068966
# Half a level of 8 bits is 2e-3 in the brightest and 1.5e-4 in the darkest part of linear light.
_GAMUT_TOLERANCE = 2e-5
_HALVINGS = 8


def _encoded(linear: Floats) -> Floats:
    value: Floats = np.power(linear, np.float32(1 / 2.4))
    value *= np.float32(1.055)
    value -= np.float32(0.055)
    dark = linear <= np.float32(0.0031308)
    value[dark] = np.float32(12.92) * linear[dark]
    return value


def highest(dtype: npt.DTypeLike) -> int:
    """The level of white: 255 or 65535."""
    return int(np.iinfo(dtype).max)


@functools.cache
def lightness_of_levels(dtype: npt.DTypeLike) -> Floats:
    """L of every level of sRGB grey, 0..100, float32 (256,) or (65536,)."""
    y = linear_from_srgb(np.arange(highest(dtype) + 1) / highest(dtype))
    curve = np.where(y > 0.008856, np.cbrt(y), 7.787 * y + 16 / 116)
    lightness: Floats = np.maximum(116 * curve - 16, 0).astype(np.float32)
    return lightness


@functools.cache
def _luminance_of_levels(dtype: npt.DTypeLike) -> Floats:
    linear = linear_from_srgb(np.arange(highest(dtype) + 1) / highest(dtype))
    tables: Floats = (_XYZ_FROM_RGB[1][:, None] * linear).astype(np.float32)
    return tables


def grey_of_rgb(rgb: Levels) -> npt.NDArray[np.uint16]:
    """The sRGB grey of the same luminance, and so of the same L, as each pixel.

    Args:
        rgb: sRGB, uint8 or uint16, (H, W, 3 or more).

    Returns:
        Grey, uint16 (H, W): 16 bits, so that the L of 8-bit colors is not rounded again.
    """
    tables = _luminance_of_levels(rgb.dtype)
    red, green, blue = (tables[channel][rgb[..., channel]] for channel in range(3))
    grey = _encoded(np.minimum(red + green + blue, np.float32(1)))
    return (grey * np.float32(65535) + np.float32(0.5)).astype(np.uint16)


def _curve_inverse(value: Floats) -> Floats:
    cube: Floats = value * value * value
    dark = value < np.float32(_CURVE_KNEE)
    cube[dark] = (value[dark] - np.float32(16 / 116)) / np.float32(7.787)
    return cube


def _linear_rgb(root: Floats, a: Floats, b: Floats) -> Floats:
    x = _curve_inverse(root + a * np.float32(1 / 500))
    y = _curve_inverse(root)
    z = _curve_inverse(root - b * np.float32(1 / 200))
    rgb = np.empty((3, *root.shape), np.float32)
    for channel, (from_x, from_y, from_z) in enumerate(_RGB_FROM_WHITE_XYZ):
        np.multiply(x, from_x, out=rgb[channel])
        rgb[channel] += y * from_y
        rgb[channel] += z * from_z
    return rgb


def _outside(rgb: Floats) -> npt.NDArray[np.bool_]:
    low = np.float32(-_GAMUT_TOLERANCE)
    high = np.float32(1 + _GAMUT_TOLERANCE)
    outside: npt.NDArray[np.bool_] = (rgb.min(axis=0) < low) | (rgb.max(axis=0) > high)
    return outside


def _with_less_chroma(root: Floats, a: Floats, b: Floats) -> Floats:
    """Linear RGB of (N,) colors outside sRGB, moved towards grey at the same L and hue angle.

    Halving finds the largest share of ab inside the gamut to within 1/256; grey always is inside.
    """
    inside = np.zeros_like(root)
    step = np.float32(0.5)
    for _ in range(_HALVINGS):
        share = inside + step
        inside = np.where(_outside(_linear_rgb(root, a * share, b * share)), inside, share)
        step *= np.float32(0.5)
    return _linear_rgb(root, a * inside, b * inside)


def join_levels(grey: Levels, ab: Floats, dtype: npt.DTypeLike) -> Levels:
    """Color grey levels, keeping their L.

    Args:
        grey: sRGB grey, uint8 or uint16, (H, W).
        ab: float32 (2, H, W), CIE Lab units. A color that sRGB lacks at this L keeps its hue angle
            and loses chroma until sRGB has it.
        dtype: uint8 or uint16, of the result.

    Returns:
        sRGB, (H, W, 3). With ab = 0 all three channels are the grey.
    """
    root = (lightness_of_levels(grey.dtype)[grey] + np.float32(16)) * np.float32(1 / 116)
    rgb = _linear_rgb(root, ab[0], ab[1])
    outside = _outside(rgb)
    if outside.any():
        rgb[:, outside] = _with_less_chroma(root[outside], ab[0][outside], ab[1][outside])
    np.clip(rgb, 0, 1, out=rgb)
    levels = np.empty((*grey.shape, 3), dtype)
    for channel, plane in enumerate(rgb):
        encoded = _encoded(plane)
        encoded *= np.float32(highest(dtype))
        encoded += np.float32(0.5)
        levels[..., channel] = encoded
    return levels
