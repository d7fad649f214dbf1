"""One picture in memory: ab predicted small, the whole picture seen, and joined at full size."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from chromaflow.colorize.join import Floats, Levels, join_levels, lightness_of_levels
from chromaflow.colorize.upsampling import find_upsampling
from chromaflow.errors import ModelError, SettingsError
from chromaflow.settings import Preprocess

if TYPE_CHECKING:
    # Whoever gives no hints does without what reads them.
    from chromaflow.colorize.hints import UserHints

SIZE = Preprocess().size
_STRIP_PIXELS = 2**17
# A picture longer than this is squeezed, for the network only: 1 × 5000 would else be 256 × 1.3 M.
_LONGEST_ASPECT = 4


class PredictsColor(Protocol):
    """What colors a picture: a `chromaflow.models.colorizer.Colorizer`, or anything like it."""

    def predict_ab(self, lightness: Tensor, guide: Any = None) -> Tensor:
        """Predict ab, (B, 2, H, W) in CIE units, from L, float32 (B, 1, H, W) in 0..100.

        A guide is given only to a model of a network that takes it.
        """
        ...


def _small_size(shape: tuple[int, int], size: int) -> tuple[int, int]:
    height, width = shape
    scale = size / min(shape)
    longest = _LONGEST_ASPECT * size
    return min(round(height * scale), longest), min(round(width * scale), longest)


def _resized(plane: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    for target in ((plane.shape[1], height), (width, height)):
        shrinks = target[0] < plane.shape[1] or target[1] < plane.shape[0]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        plane = cv2.resize(plane, target, interpolation=method)
    return plane


def device_of(model: PredictsColor) -> torch.device:
    """Where a model wants its input."""
    weight = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return weight.device if weight is not None else torch.device("cpu")


def shrunk(plane: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """A picture (H, W) at the size at which a model sees it, the shorter side being `size`."""
    return _resized(plane, *_small_size((plane.shape[0], plane.shape[1]), size))


def predict_small(
    model: PredictsColor, grey: Levels, size: int, hints: "UserHints | None" = None
) -> Floats:
    """Predict the color of a whole picture at a small size.

    Args:
        model: The model, on any device.
        grey: sRGB grey, uint8 or uint16, (H, W).
        size: The shorter side that the model sees, pixels; at least 32.
        hints: What a user tells of the colors.

    Returns:
        ab, float32 (2, h, w), CIE units, with min(h, w) = size.

    Raises:
        SettingsError: `size` is under 32.
        ModelError: The model takes no hints, or predicts values that are not numbers.
        DataError: Hints that do not fit the picture.
    """
    if size < 32:
        raise SettingsError(f"size = {size}: a model sees at least 32 pixels.")
    small = shrunk(grey, size)
    lightness = torch.from_numpy(lightness_of_levels(grey.dtype)[small])[None, None]
    device = device_of(model)
    height, width = small.shape[:2]
    guides = [hints.guide(grey, height, width, device)] if hints is not None else []
    with torch.inference_mode():
        predicted = model.predict_ab(lightness.to(device), *guides)
    ab: Floats = predicted[0].float().cpu().numpy()
    if not np.isfinite(ab).all():
        raise ModelError(
            "The model predicts values that are not numbers.",
            "use another model, or train this one anew",
        )
    return ab


def colored_strips(
    model: PredictsColor,
    grey: Levels,
    *,
    size: int,
    dtype: npt.DTypeLike,
    hints: "UserHints | None" = None,
    upsampling: str = "bilinear",
) -> Iterator[tuple[int, Levels]]:
    """Color a picture strip by strip, so that memory does not grow with the picture.

    Args:
        model: The model, on any device.
        grey: sRGB grey, uint8 or uint16, (H, W).
        size: The shorter side that the model sees, pixels.
        dtype: uint8 or uint16, of the strips.
        hints: What a user tells of the colors.
        upsampling: One of `chromaflow.colorize.upsampling.UPSAMPLINGS`.

    Yields:
        The row at which a strip begins and its sRGB, (rows, W, 3), from the top down.

    Raises:
        SettingsError: `size` is under 32, or an unknown upsampling.
        ModelError: The model takes no hints, or predicts values that are not numbers.
        DataError: Hints that do not fit the picture.
    """
    kind, levels = find_upsampling(upsampling), lightness_of_levels(grey.dtype)
    height, width = grey.shape
    color = kind(predict_small(model, grey, size, hints), levels[shrunk(grey, size)], height, width)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip_ab = color.rows(top, levels[grey[top:bottom]])
        yield top, join_levels(grey[top:bottom], strip_ab, dtype)


def colorize_array(model: PredictsColor, grey: Levels, *, size: int = SIZE) -> Levels:
    """Color a grey picture, keeping its size and its L.

    Args:
        model: The model, on any device.
        grey: sRGB grey, uint8 or uint16, (H, W).
        size: The shorter side that the model sees, pixels; at least 32.

    Returns:
        sRGB of the same type, (H, W, 3). L is the input's within the rounding of the type: a
        predicted color that sRGB lacks at this L loses chroma instead.

    Raises:
        ValueError: The array is not (H, W) with at least one pixel.
        TypeError: The values are neither uint8 nor uint16.
        SettingsError: `size` is under 32.
        ModelError: The model predicts values that are not numbers.
    """
    if grey.ndim != 2 or grey.size == 0:
        raise ValueError(f"grey must be (H, W) with at least one pixel, not {grey.shape}")
    if grey.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"grey must be uint8 or uint16, not {grey.dtype}")
    rgb = np.empty((*grey.shape, 3), grey.dtype)
    for top, strip in colored_strips(model, grey, size=size, dtype=grey.dtype):
        rgb[top : top + len(strip)] = strip
    return rgb
