"""The stored form of a Lab pixel: three bytes, (L·255/100, a + 128, b + 128), each rounded."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def decode_stored(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Lightness and color of stored pixels, on the device where the pixels are.

    Args:
        pixels: uint8, (B, H, W, 3).

    Returns:
        Lightness float32 (B, 1, H, W) in 0..100 and ab float32 (B, 2, H, W) in −128..127.

    Raises:
        ValueError: Another type or shape.

    Example:
        >>> pixels = torch.tensor([255, 148, 98], dtype=torch.uint8).reshape(1, 1, 1, 3)
        >>> [part.flatten().tolist() for part in decode_stored(pixels)]
        [[100.0], [20.0, -30.0]]
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
        raise ValueError(
            f"pixels must be uint8 (B, H, W, 3), not {pixels.dtype} {tuple(pixels.shape)}"
        )
    planes = pixels.permute(0, 3, 1, 2)
    lightness = planes[:, :1].to(torch.float32, memory_format=torch.contiguous_format)
    ab = planes[:, 1:].to(torch.float32, memory_format=torch.contiguous_format)
    return lightness.mul_(100 / 255), ab.sub_(128)


def encode_stored(lab: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Round Lab to its stored form; the mean ΔE of the rounding is about 0.5.

    Args:
        lab: (…, H, W, 3): L in 0..100, a and b in CIE units.

    Returns:
        uint8, of the same shape; values out of range are clipped.

    Raises:
        ValueError: The last dimension is not 3.

    Example:
        >>> encode_stored(np.array([[[100.0, 20.4, -300.0]]])).tolist()
        [[[255, 148, 0]]]
    """
    if lab.shape[-1] != 3:
        raise ValueError(f"lab must be (…, H, W, 3), not {lab.shape}")
    scaled = lab * np.array([255 / 100, 1, 1], lab.dtype) + np.array([0, 128, 128], lab.dtype)
    rounded: npt.NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
    return rounded


def ab_histogram(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Count the colors of stored pixels.

    Args:
        pixels: uint8, (…, 3).

    Returns:
        int64, (256, 256): the number of pixels at [a + 128, b + 128].

    Example:
        >>> pixels = np.array([[255, 148, 98]] * 5, np.uint8)
        >>> ab_histogram(pixels)[148, 98]
        np.int64(5)
    """
    flat = pixels.reshape(-1, 3)
    index = flat[:, 1].astype(np.intp) * 256 + flat[:, 2]
    return np.bincount(index, minlength=256 * 256).reshape(256, 256).astype(np.int64)
