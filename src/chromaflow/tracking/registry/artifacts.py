"""The artifact of a version: uploaded once as a whole, and verified at each read."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from chromaflow.errors import ModelError
from chromaflow.project import files
from chromaflow.tracking.client import first_line
from chromaflow.tracking.registry.lookup import Version
from chromaflow.tracking.registry.package import MODEL_PATH, write_package

if TYPE_CHECKING:
    from mlflow import MlflowClient

_RESTORE = "delete that version in MLflow and run chromaflow retrain, or restore the artifact"


def upload(
    client: "MlflowClient", folder: Path, *, experiment: str, run_id: str, name: str, digest: str
) -> str:
    """Upload a model folder as a logged model of a run; what a killed call began is completed.

    Args:
        client: Of MLflow.
        folder: The model folder.
        experiment: Id of the experiment.
        run_id: The run that the logged model is an output of.
        name: Of the logged model.
        digest: SHA-256 of the folder; a logged model with this digest is not uploaded again.

    Returns:
        The id of the logged model.
    """
    from mlflow.entities import LoggedModelOutput  # noqa: PLC0415 (seconds)

    found = client.search_logged_models([experiment], filter_string=f"tags.digest = '{digest}'")
    model = next(iter(found), None) or client.create_logged_model(
        experiment,
        name=name,
        source_run_id=run_id,
        tags={"digest": digest},
        model_type="image colorization",
    )
    if str(model.status) != "READY":
        with tempfile.TemporaryDirectory(prefix="chromaflow-") as temporary:
            package = Path(temporary) / "package"
            write_package(folder, package, model.model_id)
            client.log_model_artifacts(model.model_id, str(package))
        client.finalize_logged_model(model.model_id, "READY")
    outputs = client.get_run(run_id).outputs
    linked = {output.model_id for output in outputs.model_outputs} if outputs else set()
    if model.model_id not in linked:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


@contextlib.contextmanager
def verified_folder(version: Version, connect: Callable[[], object]) -> Iterator[Path]:
    """The model folder of a version as the registry holds it now, its digest recomputed.

    Args:
        version: Of the registered model.
        connect: Connects MLflow; called where the artifact is not in a folder of this machine.

    Raises:
        ModelError: The artifact is gone, or is not what was registered.
        ServerError: MLflow does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="chromaflow-") as temporary:
        local = _local_path(version.source)
        if local is not None and local.is_dir():
            folder = local / MODEL_PATH
        else:
            connect()
            folder = _download(version, Path(temporary))
        name = f"{version.model} version {version.version}"
        if not folder.is_dir():
            raise ModelError(f"the artifact of {name} is gone from {version.source}.", _RESTORE)
        actual = files.digest_of_folder(folder)
        if actual != version.digest:
            raise ModelError(
                f"the artifact of {name} is not what was registered: its digest is {actual[:12]}…, "
                f"the registry says {version.digest[:12] or 'nothing'}… ({folder}).",
                _RESTORE,
            )
        yield folder


def _local_path(source: str) -> Path | None:
    parts = urlsplit(source)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path))


def _download(version: Version, target: Path) -> Path:
    import mlflow.artifacts  # noqa: PLC0415 (seconds)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    uri = f"models:/{version.model}/{version.version}"
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(target))) / MODEL_PATH
    except (MlflowException, OSError) as error:
        problem = f"the artifact of {uri} cannot be fetched: {first_line(error)}"
        raise ModelError(problem, _RESTORE) from error
