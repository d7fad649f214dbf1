"""The artifact of a model version: model folder, code to load it, signature and requirements."""

import shutil
import warnings
from importlib import metadata
from pathlib import Path

import chromaflow

MODEL_PATH = "artifacts/model"
# What loading and coloring import; MLflow would find out by running the model.
_ALWAYS = ("numpy", "opencv-python-headless", "safetensors", "torch")
_OF_REFINEMENTS = {"superpixels": "scikit-image", "total_variation": "scikit-image"}


def requirements(folder: Path) -> list[str]:
    """The libraries that a model folder needs, pinned to the versions installed here.

    Raises:
        ModelError: A folder that cannot be read.
    """
    from chromaflow.models.backbones.efficientnet_lite0 import NAME  # noqa: PLC0415
    from chromaflow.models.model_folder import read_description  # noqa: PLC0415 (imports torch)

    description, names = read_description(folder), list(_ALWAYS)
    if description["network"].get("backbone", NAME) != NAME:
        names.append("timm")
    if (library := _OF_REFINEMENTS.get(description["refine"])) is not None:
        names.append(library)
    # A local build such as 2.14.1+cpu is on no index under its full name.
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names]


def write_package(folder: Path, destination: Path, model_id: str) -> None:
    """Write a model folder as an MLflow model that any process can load, without a pickle.

    The code travels along, so that a serving machine needs no chromaflow of its own.

    Args:
        folder: The model folder; it lands unchanged under `MODEL_PATH`.
        destination: An empty or missing folder.
        model_id: The id by which MLflow knows the logged model.
    """
    import mlflow.pyfunc  # noqa: PLC0415 (seconds)
    import numpy as np  # noqa: PLC0415
    from mlflow.models import Model, ModelSignature  # noqa: PLC0415
    from mlflow.types import Schema, TensorSpec  # noqa: PLC0415

    pixels = np.dtype("uint8")
    staged = destination.parent / "model"
    shutil.copytree(folder, staged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            path=str(destination),
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"model": str(staged)},
            code_paths=[str(Path(chromaflow.__file__).parent)],
            signature=ModelSignature(
                inputs=Schema([TensorSpec(pixels, (-1, -1, -1))]),
                outputs=Schema([TensorSpec(pixels, (-1, -1, -1, 3))]),
            ),
            input_example=np.arange(32 * 32, dtype=np.uint16).reshape(1, 32, 32).astype(pixels),
            pip_requirements=requirements(folder),
            mlflow_model=Model(model_id=model_id),
        )
    shutil.rmtree(staged)
