"""The champion, measured as `chromaflow evaluate` measures a candidate."""

from chromaflow.evaluation.measure import measure_model, model_to_measure
from chromaflow.evaluation.measurements import Measurements
from chromaflow.tracking.registry.lookup import Version
from chromaflow.tracking.registry.registry import Registry


def measure_champion(registry: Registry, version: Version) -> Measurements:
    """Measure a version on the current test split.

    Args:
        registry: Of the checkout whose `data/lab/test` is read; of its settings, `evaluation` and
            the device and the threads of `training` are used.
        version: Of the registered model.

    Raises:
        DataError: The test split is missing or empty.
        ModelError: The artifact is gone, was changed, or cannot be used.
        ServerError: MLflow does not answer.
    """
    settings, test = registry.settings, registry.project.lab / "test"
    with (
        registry.verified_folder(version) as folder,
        model_to_measure(folder, settings.training) as model,
    ):
        return measure_model(model, test, settings.evaluation)["model"]
