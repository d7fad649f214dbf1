"""One picture in memory: its color predicted at low resolution and joined at full size.

Whatever colors pictures does it through a `Predictor`: the command line, the registered model, an
exported one. So all of them give the same picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chromaflow.colorize.join import Floats, Levels, join_levels, lightness_of_levels
from chromaflow.colorize.upsampling import find_upsampling
from chromaflow.errors import ModelError, SettingsError
from chromaflow.models.model_folder import load_model, model_digest
from chromaflow.models.networks.base import Guide, Hints, Reference
from chromaflow.models.onnx import OnnxColorizer
from chromaflow.refine import check_name
from chromaflow.settings.system import LEAST_SIZE

if TYPE_CHECKING:
    # What reads hints needs libraries that a machine which only runs inference may lack.
    from chromaflow.colorize.hints import UserHints

DEVICES = ("auto", "cpu", "cuda")
"""Names of devices; auto is CUDA where there is one."""
_STRIP_PIXELS = 2**17
# A longer picture is compressed along its length, for the network only: 1 × 5000 would else be
# 256 × 1.3 M.
_LONGEST_ASPECT = 4


class PredictsColor(Protocol):
    """What predicts color: a `chromaflow.models.colorizer.Colorizer`, or anything like it.

    Several threads may call it at once, so predicting changes nothing in it.
    """

    @property
    def name(self) -> str:
        """Of its network."""
        ...

    @property
    def guide(self) -> type[Hints] | type[Reference] | None:
        """The type that it can be guided by, or None."""
        ...

    def predict_ab(
        self, lightness: Tensor, guide: Guide | None = None, *, refine: str | None = None
    ) -> Tensor:
        """Predict ab, (B, 2, H, W) in CIE units, from L, float32 (B, 1, H, W) in 0..100.

        Args:
            lightness: On the predictor's device.
            guide: Of the type that it can be guided by, or None.
            refine: Another refinement than its own.
        """
        ...


@dataclass(frozen=True)
class ColorOptions:
    """How a picture is colored; what is not given is as the model was made for.

    Args:
        size: The shorter side at which color is predicted, pixels, at least 32.
        refine: What refines the color, one of `chromaflow.refine.REFINEMENTS`.
        upsample: How color comes to full size, one of `chromaflow.colorize.upsampling.UPSAMPLINGS`.
        hints: The user's hints about the colors.

    Raises:
        SettingsError: The size is under 32, or an upsampling that is not known.
        ModelError: A refinement that is not known.
    """

    size: int | None = None
    refine: str | None = None
    upsample: str = "bilinear"
    hints: "UserHints | None" = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < LEAST_SIZE:
            raise SettingsError(f"size = {self.size}: a model sees at least {LEAST_SIZE} pixels.")
        if self.refine is not None:
            check_name(self.refine)
        find_upsampling(self.upsample)


DEFAULTS = ColorOptions()
"""As the model was made for."""


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


def shrunk(plane: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """A picture (H, W) at the size at which a model sees it, the shorter side being `size`."""
    return _resized(plane, *_small_size((plane.shape[0], plane.shape[1]), size))


def find_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: One of `DEVICES`.

    Raises:
        SettingsError: Another name, or CUDA where there is none.
    """
    if name not in DEVICES:
        raise SettingsError(f"unknown device {name!r}; available: {', '.join(DEVICES)}.")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise SettingsError("there is no CUDA device that torch can use.", "--device cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


@dataclass(frozen=True)
class Predictor:
    """Colors pictures; nothing in it changes, so that many threads may use one.

    Args:
        model: Predicts color at a small size; in evaluation mode, on the device.
        digest: SHA-256 of the model folder, 64 hexadecimal digits.
        size: The shorter side at which it predicts color, pixels, unless an option says otherwise.
        device: Where it predicts.
    """

    model: PredictsColor
    digest: str
    size: int
    device: torch.device

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> "Predictor":
        """The predictor of a model folder.

        Args:
            folder: As `chromaflow train` writes it.
            device: One of `DEVICES`.

        Raises:
            ModelError: The folder is missing or broken; by name.
            SettingsError: The device is unknown, or not there.
        """
        place = find_device(device)
        model = load_model(folder, place)
        return cls(model, model_digest(folder, exact=False), model.size, place)

    @classmethod
    def from_onnx(cls, path: Path) -> "Predictor":
        """The predictor of a model that `chromaflow export` wrote, by ONNX Runtime on the CPU.

        Raises:
            UserError: ONNX Runtime is not installed.
            ModelError: The file is missing or broken, or was not written by chromaflow.
        """
        model = OnnxColorizer(path)
        return cls(model, model.digest, model.size, torch.device("cpu"))

    def check(self, options: ColorOptions) -> None:
        """Refuse hints that the model cannot follow.

        Raises:
            ModelError: It takes none.
        """
        if options.hints is not None and self.model.guide is not Hints:
            raise ModelError(
                f"the network {self.model.name} takes no hints.",
                "give a model of a network that does, such as zhang2017",
            )

    def size_for(self, options: ColorOptions) -> int:
        """The shorter side at which it predicts color, pixels."""
        return self.size if options.size is None else options.size

    def predict_small(self, grey: Levels, options: ColorOptions = DEFAULTS) -> Floats:
        """Predict the color of a whole picture at a small size.

        Args:
            grey: sRGB grey, uint8 or uint16, (H, W).
            options: How; `upsample` is ignored here.

        Returns:
            ab, float32 (2, h, w), CIE units, with min(h, w) = `size_for(options)`.

        Raises:
            ModelError: The model takes no hints, or predicts values that are not numbers.
            DataError: Hints that do not fit the picture.
        """
        return self._predict(grey, shrunk(grey, self.size_for(options)), options)

    def _predict(self, grey: Levels, small: Levels, options: ColorOptions) -> Floats:
        self.check(options)
        lightness = torch.from_numpy(lightness_of_levels(grey.dtype)[small])[None, None]
        guide = None
        if options.hints is not None:
            height, width = small.shape
            guide = options.hints.guide(grey, height, width, self.device)
        with torch.inference_mode():
            predicted = self.model.predict_ab(
                lightness.to(self.device), guide, refine=options.refine
            )
        ab: Floats = predicted[0].float().cpu().numpy()
        if not np.isfinite(ab).all():
            raise ModelError(
                "The model predicts values that are not numbers.",
                "use another model, or retrain this one",
            )
        return ab

    def strips(
        self, grey: Levels, dtype: npt.DTypeLike, options: ColorOptions = DEFAULTS
    ) -> Iterator[tuple[int, Levels]]:
        """Color a picture strip by strip, so that memory does not grow with the picture.

        Args:
            grey: sRGB grey, uint8 or uint16, (H, W).
            dtype: uint8 or uint16, of the strips.
            options: How.

        Yields:
            The row at which a strip begins and its sRGB, (rows, W, 3), from the top down.

        Raises:
            ModelError: The model takes no hints, or predicts values that are not numbers.
            DataError: Hints that do not fit the picture.
        """
        levels, (height, width) = lightness_of_levels(grey.dtype), grey.shape
        small = shrunk(grey, self.size_for(options))
        ab = self._predict(grey, small, options)
        color = find_upsampling(options.upsample)(ab, levels[small], height, width)
        rows = max(1, _STRIP_PIXELS // width)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            strip_ab = color.rows(top, levels[grey[top:bottom]])
            yield top, join_levels(grey[top:bottom], strip_ab, dtype)

    def color(self, grey: Levels, options: ColorOptions = DEFAULTS) -> Levels:
        """Color a grey picture, keeping its size and its L.

        Args:
            grey: sRGB grey, uint8 or uint16, (H, W).
            options: How.

        Returns:
            sRGB of the same type, (H, W, 3). L is the input's within the rounding of the type: a
            predicted color that sRGB lacks at this L loses chroma instead.

        Raises:
            ValueError: The array is not (H, W) with at least one pixel.
            TypeError: The values are neither uint8 nor uint16.
            ModelError: The model takes no hints, or predicts values that are not numbers.
            DataError: Hints that do not fit the picture.
        """
        if grey.ndim != 2 or grey.size == 0:
            raise ValueError(f"grey must be (H, W) with at least one pixel, not {grey.shape}")
        if grey.dtype not in (np.uint8, np.uint16):
            raise TypeError(f"grey must be uint8 or uint16, not {grey.dtype}")
        rgb = np.empty((*grey.shape, 3), grey.dtype)
        for top, strip in self.strips(grey, grey.dtype, options):
            rgb[top : top + len(strip)] = strip
        return rgb
