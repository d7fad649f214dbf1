"""The only access to MLflow: its address, first use without races, errors in one sentence."""

import contextlib
import logging
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from chromaflow.errors import ServerError
from chromaflow.project.addresses import is_server, public_address
from chromaflow.project.paths import Project
from chromaflow.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PROBE_SECONDS = 4.0
_REMEDY = "chromaflow up, or empty tracking.uri to record in .chromaflow/mlflow.db"
# MLflow would repeat a request for minutes; a user's own choice stands.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A uv.lock in the checkout would otherwise be copied into every model.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
}


def tracking_uri(project: Project, settings: Settings) -> str:
    """The address of MLflow: the setting, or a sqlite file in `.chromaflow`.

    The path of a sqlite file may be relative to the checkout.
    """
    uri = settings.tracking.uri or f"sqlite:///{project.state / 'mlflow.db'}"
    path = sqlite_path(uri)
    return uri if path is None else f"sqlite:///{project.root / path}"


def require_server(uri: str) -> None:
    """Make sure within seconds that an MLflow server answers; databases pass.

    Raises:
        ServerError: Nothing answers there, or something that is not MLflow.
    """
    if not is_server(uri):
        return
    address = public_address(uri)
    request = urllib.request.Request(f"{address.rstrip('/')}/health")  # noqa: S310 (http only)
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS) as response:  # noqa: S310
            healthy = response.read(64).strip() == b"OK"
    except urllib.error.HTTPError as error:
        # A proxy that asks for a password stands in front of a server that is there.
        healthy = error.code in (401, 403)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ServerError(f"no MLflow server answers at {address}: {reason}", _REMEDY) from None
    if not healthy:
        raise ServerError(f"what answers at {address} is not MLflow", _REMEDY)


def _quiet_mlflow() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It logs whole tracebacks of errors that are given here in a sentence.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def connect(project: Project, settings: Settings) -> "MlflowClient":
    """A client of MLflow, its database made or found ready.

    Raises:
        ServerError: The server does not answer, or the database cannot be used.
    """
    uri = tracking_uri(project, settings)
    require_server(uri)
    _quiet_mlflow()
    import mlflow  # noqa: PLC0415 (seconds)

    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())
    with translate_errors(uri):
        # The registry asks the global address for a logged model, whatever its client was given.
        mlflow.set_tracking_uri(uri)
        with _first_use(project, uri):
            return mlflow.MlflowClient(uri)


@contextlib.contextmanager
def _first_use(project: Project, uri: str) -> Iterator[None]:
    """Let one process at a time touch a database that may still need its tables."""
    if is_server(uri):
        yield
        return
    with project.lock("mlflow", wait=True):
        path = sqlite_path(uri)
        if path is not None and not path.exists():
            _make_database(path)
        yield


def sqlite_path(uri: str) -> Path | None:
    """The file of a sqlite address; None for other addresses."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None


def _make_database(path: Path) -> None:
    """Make the tables in a file that takes its name when it is complete.

    MLflow makes them in dozens of steps; a kill between two leaves a database that it can neither
    use nor repair.
    """
    import mlflow  # noqa: PLC0415 (seconds)

    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / path.name
        mlflow.MlflowClient(f"sqlite:///{made}").get_experiment_by_name("")
        made.replace(path)


def experiment_id(client: "MlflowClient", project: Project, settings: Settings) -> str:
    """The id of the experiment, made where there is none."""
    name = settings.tracking.experiment
    uri = tracking_uri(project, settings)
    place = None if is_server(uri) else _artifact_root(project)
    with translate_errors(uri), _first_use(project, uri):
        found = client.get_experiment_by_name(name)
        if found is None:
            return _create_experiment(client, name, place)
        if place is not None:
            _refuse_moved(found.artifact_location, place)
        if found.lifecycle_stage != "active":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


def _create_experiment(client: "MlflowClient", name: str, place: str | None) -> str:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (seconds)

    try:
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException as error:
        # Another checkout was first.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(client.get_experiment_by_name(name).experiment_id)


def _artifact_root(project: Project) -> str:
    return (project.state / "artifacts").resolve().as_uri()


def _refuse_moved(recorded: str, place: str) -> None:
    """MLflow records where artifacts lie once and for all, as an absolute path."""
    old, new = (Path(unquote(urlsplit(uri).path)) for uri in (recorded, place))
    if recorded.startswith("file:") and old != new and not old.exists() and new.exists():
        raise ServerError(
            f"MLflow knows the artifacts of this checkout in {old}, which is gone: it was moved.",
            f"mkdir -p {old.parent} && ln -s {new} {old}, or move the checkout back",
        )


@contextlib.contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Turn a fault of the server or its database into a sentence that names the address.

    Raises:
        ServerError: In place of what MLflow, its database or its connection raise.
    """
    import requests  # noqa: PLC0415
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (seconds)
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    try:
        yield
    except (MlflowException, SQLAlchemyError, requests.RequestException) as error:
        text, address = first_line(error), public_address(uri)
        remedy = _REMEDY if is_server(uri) else f"look at {address}: is it intact and writable?"
        # Neither type nor error code of MLflow's distinguish this from its other errors.
        if "out-of-date database schema" in text:
            remedy = f"copy the database away, then: mlflow db upgrade {address}"
        raise ServerError(f"MLflow at {address}: {text}", remedy) from error


def first_line(error: BaseException) -> str:
    """What an error says, on one line of readable length and without passwords."""
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    # Behind this, urllib3 repeats the address and every attempt.
    return public_address(re.sub(r"( with exception|: HTTP\w+Pool| \(Caused by).*", "", text))
