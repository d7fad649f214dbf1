"""The registered model's own code (MLflow's models-from-code): grey photographs in, color out."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np


class ColorizingModel(mlflow.pyfunc.PythonModel):
    """Colors grey photographs; what `mlflow.pyfunc.load_model("models:/…")` gives."""

    def load_context(self, context: Any) -> None:
        """Load the model folder of the artifact, on CUDA where there is one."""
        from chromaflow.colorize.predictor import Predictor  # noqa: PLC0415 (imports torch)

        self.predictor = Predictor.load(Path(context.artifacts["model"]))

    # MLflow takes any other hint than the bare array for a schema; the signature is the schema.
    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: np.ndarray,  # type: ignore[type-arg]
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> np.ndarray:  # type: ignore[type-arg]
        """Color grey photographs as `chromaflow colorize` does.

        Args:
            context: Of MLflow; not used after loading.
            model_input: uint8 (B, H, W), sRGB grey values, of any size.
            params: Of MLflow; there are none.

        Returns:
            uint8 (B, H, W, 3), sRGB, with the lightness of the input.
        """
        photographs = np.asarray(model_input, dtype=np.uint8)
        rgb = np.empty((*photographs.shape, 3), np.uint8)
        for photograph, colored in zip(photographs, rgb, strict=True):
            colored[:] = self.predictor.color(photograph)
        return rgb


mlflow.models.set_model(ColorizingModel())
