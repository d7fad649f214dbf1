"""A model as ONNX: lightness in, color out, for runtimes without torch."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from chromaflow.errors import ModelError, UserError
from chromaflow.models.colorizer import Colorizer
from chromaflow.project import files

TOLERANCE = 1e-2
"""CIE units by which ONNX Runtime may differ from torch."""
_NEEDED = 'python -m pip install "chromaflow[export]"'


class Prediction(nn.Module):
    """What is exported: lightness (1, 1, side, side) in 0..100 to ab (1, 2, side, side).

    Args:
        model: In evaluation mode, on the CPU.
    """

    def __init__(self, model: Colorizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, lightness: Tensor) -> Tensor:
        """Color, CIE units."""
        return self.model.predict_ab(lightness)


def export_onnx(model: Colorizer, target: Path, side: int = 256) -> float:
    """Write a model as ONNX, and see that ONNX Runtime gives the same color.

    Args:
        model: In evaluation mode, on the CPU; without a refinement, which is no part of a network.
        target: The file, replaced where it exists.
        side: Of the square image that it takes, pixels.

    Returns:
        Largest difference from torch, CIE units.

    Raises:
        UserError: A library for it is not installed.
        ModelError: An operator of the network has no counterpart in ONNX, or the color differs.
    """
    try:
        import onnxruntime  # noqa: PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise UserError(f"exporting needs {error.name}.", _NEEDED) from None
    if model.refine != "none":
        raise ModelError(
            f"the refinement {model.refine} cannot be exported.",
            "set its refine to none, and refine where the color is used",
        )
    lightness = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0)) * 100
    data = _program(model, lightness)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"lightness": lightness.numpy()})
    with torch.inference_mode():
        difference = float(np.abs(given - model.predict_ab(lightness).numpy()).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            f"ONNX Runtime gives colors that differ from torch's by {difference:.3g} CIE units."
        )
    files.write_bytes(target, data)
    return difference


def _program(model: Colorizer, lightness: Tensor) -> bytes:
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
            )
        except torch.onnx.OnnxExporterError as error:
            told = str(error).strip().splitlines()[0]
            name = model.network.name
            raise ModelError(f"the network {name} cannot be exported: {told}") from None
    assert program is not None  # noqa: S101 (it is where no file is named)
    data: bytes = program.model_proto.SerializeToString()
    return data
