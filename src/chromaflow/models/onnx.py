"""A model as ONNX: written for runtimes without torch, and read to color as the model does."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chromaflow.errors import ModelError, UserError
from chromaflow.models.colorizer import Colorizer, fill
from chromaflow.models.networks.base import Guide
from chromaflow.project import files
from chromaflow.refine import check_name
from chromaflow.refine import refine as refine_color

TOLERANCE = 1e-2
"""CIE units by which ONNX Runtime may differ from torch."""
_NEEDED = 'python -m pip install "chromaflow[export]"'
_KEY = "chromaflow"
# About what is traced, and another shape that shows whether the first was taken for the only one.
_SHAPES = ((256, 320), (320, 256))


class Prediction(nn.Module):
    """What is exported: lightness (1, 1, H, W) in 0..100 to ab (1, 2, H, W), not refined.

    Args:
        model: In evaluation mode, on the CPU.
    """

    def __init__(self, model: Colorizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, lightness: Tensor) -> Tensor:
        """Color, CIE units."""
        return self.model.predict_ab(lightness, refine="none")


class OnnxColorizer:
    """A model that `export_onnx` wrote; predicts what it does, by ONNX Runtime on the CPU.

    Args:
        path: The file.

    Attributes:
        name: Of the network.
        guide: None: an exported model takes no hints.
        digest: Of the model folder that was exported.
        size: The shorter side at which it is meant to predict the color of a picture, pixels.

    Raises:
        UserError: ONNX Runtime is not installed.
        ModelError: The file is missing or broken, or `export_onnx` did not write it.
    """

    guide = None

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._session = _session(path.read_bytes())
            metadata = json.loads(self._session.get_modelmeta().custom_metadata_map[_KEY])
            self.name, self.digest = str(metadata["network"]), str(metadata["digest"])
            self.size, self._multiple = int(metadata["size"]), int(metadata["multiple"])
            self._refine, self._side = check_name(metadata["refine"]), int(metadata["side"])
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}.") from None
        except UserError:
            raise
        except Exception as error:  # ONNX Runtime raises a class of its own for each of its codes
            raise ModelError(
                f"{path} is not a model that chromaflow exported: {error}", "run chromaflow export"
            ) from None

    def predict_ab(
        self, lightness: Tensor, guide: Guide | None = None, *, refine: str | None = None
    ) -> Tensor:
        """Color at the size of the input, refined; as of `Colorizer.predict_ab`.

        Args:
            lightness: (1, 1, H, W), 0..100, on the CPU.
            guide: None.
            refine: Another refinement than the model's own.

        Returns:
            ab, float32 (1, 2, H, W), CIE units.

        Raises:
            ModelError: There is a guide, or the file takes pictures of one size only, and this is
                another.
        """
        if guide is not None:
            raise ModelError(f"{self._path} takes no {type(guide).__name__.lower()}.")
        height, width = lightness.shape[2:]
        if self._side and (height, width) != (self._side, self._side):
            raise ModelError(
                f"{self._path} takes pictures of {self._side} × {self._side} pixels only, not "
                f"{width} × {height}.",
                "export the model without --side",
            )
        filled = lightness if self._side else fill(lightness, self._multiple)
        (found,) = self._session.run(None, {"lightness": filled.numpy()})
        ab = torch.from_numpy(found)[..., :height, :width].contiguous()
        return refine_color(refine or self._refine, lightness, ab)


def _session(data: bytes) -> Any:
    try:
        import onnxruntime  # noqa: PLC0415
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}.", _NEEDED) from None
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def export_onnx(model: Colorizer, target: Path, *, digest: str, side: int = 0) -> float:
    """Write a model as ONNX, and see that ONNX Runtime gives the same color.

    A refinement is not part of the network: the file states its name, with the model's digest and
    size, and `OnnxColorizer` does what is left.

    Args:
        model: In evaluation mode, on the CPU.
        target: The file, replaced where it exists.
        digest: Of the model folder.
        side: Of the square image that it takes, pixels; 0: it takes any whose sides are multiples
            of `model.multiple`.

    Returns:
        Largest difference from torch, CIE units.

    Raises:
        UserError: A library for it is not installed.
        ModelError: An operator of the network has no counterpart in ONNX, or the color differs.
    """
    try:
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise UserError(f"exporting needs {error.name}.", _NEEDED) from None
    shapes = [(side, side)] if side else [_multiples(shape, model.multiple) for shape in _SHAPES]
    seed = torch.Generator().manual_seed(0)
    pictures = [torch.rand(1, 1, *shape, generator=seed) * 100 for shape in shapes]
    data = _program(model, pictures[0], digest, side)
    difference = _difference(model, data, pictures, side)
    if not difference <= TOLERANCE:
        raise ModelError(
            f"ONNX Runtime gives colors that differ from torch's by {difference:.3g} CIE units."
        )
    files.write_bytes(target, data)
    return difference


def _multiples(shape: tuple[int, int], multiple: int) -> tuple[int, int]:
    height, width = (side + -side % multiple for side in shape)
    return height, width


def _refused(model: Colorizer, error: Exception, side: int) -> ModelError:
    reason = str(error).strip().splitlines()[0]
    if side:
        return ModelError(f"the network {model.name} cannot be exported: {reason}")
    return ModelError(
        f"the network {model.name} cannot be exported for pictures of any size: {reason}",
        "export it for one size: --side 256",
    )


def _difference(model: Colorizer, data: bytes, pictures: Sequence[Tensor], side: int) -> float:
    """Largest difference of ONNX Runtime's color from torch's, CIE units."""
    session, largest = _session(data), 0.0
    for lightness in pictures:
        try:
            (given,) = session.run(None, {"lightness": lightness.numpy()})
        except Exception as error:  # ONNX Runtime raises a class of its own for each of its codes
            raise _refused(model, error, side) from None
        with torch.inference_mode():
            expected = model.predict_ab(lightness, refine="none").numpy()
        largest = max(largest, float(np.abs(given - expected).max()))
    return largest


def _program(model: Colorizer, lightness: Tensor, digest: str, side: int) -> bytes:
    """The network as ONNX, traced with a picture."""
    shapes = None
    if not side:
        rows, columns = torch.export.Dim("rows"), torch.export.Dim("columns")
        if (k := model.multiple) > 1:
            rows, columns = k * rows, k * columns
        shapes = {"lightness": {2: rows, 3: columns}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                Prediction(model),
                (lightness,),
                dynamo=True,
                verbose=False,
                input_names=["lightness"],
                output_names=["ab"],
                dynamic_shapes=shapes,
            )
        except torch.onnx.OnnxExporterError as error:
            raise _refused(model, error, side) from None
    assert program is not None  # noqa: S101 (it is where no file is named)
    metadata = {
        "network": model.name,
        "digest": digest,
        "refine": model.refine,
        "size": side or model.size,
        "multiple": model.multiple,
        "side": side,
    }
    proto = program.model_proto  # another one each time
    proto.metadata_props.add(key=_KEY, value=json.dumps(metadata))
    data: bytes = proto.SerializeToString()
    return data
