"""The registered model's own code (MLflow's models-from-code): grey photographs in, color out."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np


class ColorizingModel(mlflow.pyfunc.PythonModel):
    """Colors grey photographs; what `mlflow.pyfunc.load_model("models:/…")` gives."""

    def load_context(self, context: Any) -> None:
        """Load the model folder of the artifact."""
        from chromaflow.models.model_folder import load_model  # noqa: PLC0415 (imports torch)

        self.model = load_model(Path(context.artifacts["model"]))

    # MLflow takes any other hint than the bare array for a schema; the signature is the schema.
    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: np.ndarray,  # type: ignore[type-arg]
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> np.ndarray:  # type: ignore[type-arg]
        """Color grey photographs.

        Args:
            context: Of MLflow; not used after loading.
            model_input: uint8 (B, H, W), sRGB grey values, sides of 32 pixels or more.
            params: Of MLflow; there are none.

        Returns:
            uint8 (B, H, W, 3), sRGB, with the lightness of the input.
        """
        import torch  # noqa: PLC0415

        from chromaflow.color.lab import join, lab_to_rgb, rgb_to_lab  # noqa: PLC0415

        grey = torch.from_numpy(np.array(model_input, dtype=np.uint8)).float() / 255
        lightness = rgb_to_lab(grey[:, None].expand(-1, 3, -1, -1))[:, :1]
        with torch.inference_mode():
            lab = join(lightness, self.model.predict_ab(lightness))
        rgb = (lab_to_rgb(lab) * 255).round().to(torch.uint8)
        return rgb.permute(0, 2, 3, 1).contiguous().numpy()


mlflow.models.set_model(ColorizingModel())
