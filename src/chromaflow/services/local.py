"""The local servers of a checkout: MLflow for experiments and models, Prefect for flow runs."""

import os
import sys
import warnings
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from chromaflow.errors import ChromaflowWarning
from chromaflow.project import dvc
from chromaflow.project.addresses import is_server, public_address
from chromaflow.project.packages import require_package
from chromaflow.project.paths import Project
from chromaflow.services import launch
from chromaflow.services.launch import Server
from chromaflow.settings import Settings, Tracking
from chromaflow.tracking.client import connect, tracking_uri

_REMOTE_SECONDS = 2.0


def servers_folder(project: Project) -> Path:
    """Where logs and pid files of the servers lie."""
    return project.state / "servers"


def mlflow_server(project: Project, settings: Settings) -> Server:
    """MLflow's tracking server over what runs without a server record: `mlflow.db`, `artifacts`.

    A database named in tracking.uri takes the place of `mlflow.db`. Artifacts have a plain path,
    not the server's proxy, so that they are found with and without a server.
    """
    host, port = settings.servers.host, settings.servers.mlflow_port
    uri = tracking_uri(project, settings)
    if is_server(uri):
        uri = f"sqlite:///{project.state / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--workers", "1", "--no-serve-artifacts", "--uvicorn-opts=--no-access-log"]
    environment = dvc.environment() | {
        # Not on the command line, which every user of the machine can read: it may hold a password.
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": (project.state / "artifacts").resolve().as_uri(),
        # Jobs of language models; they would be four more processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        environment.pop(name, None)
    if not launch.is_loopback(host) and launch.reachable(host) == host:
        # MLflow knows loopback and private addresses by itself, and nobody's own name.
        place = launch.join_address(host, port)
        environment.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", f"{place},localhost:*,127.0.0.1:*")
        environment.setdefault("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", f"http://{place}")
    setting = "servers.mlflow_port"
    return Server("mlflow", "MLflow", command, environment, host, port, setting, "/health", b"OK")


def prefect_server(project: Project, settings: Settings) -> Server:
    """Prefect's server with its state in `.chromaflow/prefect`."""
    host, port = settings.servers.host, settings.servers.prefect_port
    place = launch.join_address(host, port)
    environment = dvc.environment() | {
        "PREFECT_HOME": str(project.state / "prefect"),
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": f"http://{place}/api",
        # By default any page in the user's browser may start a run.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{place},http://localhost:{port}",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "true",
    }
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "prefect", "server", "start"]
    setting, health = "servers.prefect_port", "/api/health"
    return Server("prefect", "Prefect", command, environment, host, port, setting, health, b"true")


def _elsewhere(server: Server, project: Project, settings: Settings) -> str:
    """The address of a server that settings or environment name instead of the local one."""
    if server.name == "prefect":
        named = os.environ.get("PREFECT_API_URL", "")
    else:
        named = settings.tracking.uri if is_server(tracking_uri(project, settings)) else ""
    if not named:
        return ""
    parts = urlsplit(named)
    local = launch.reachable(settings.servers.host)
    same_host = parts.hostname in {local, "localhost"}
    return "" if same_host and _port_of(parts) == server.port else public_address(named)


def _port_of(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def up(project: Project, settings: Settings) -> list[dict[str, str]]:
    """Start the local MLflow and Prefect servers in the background, or find them running.

    A server that tracking.uri or PREFECT_API_URL names elsewhere is not started here.

    Returns:
        For each server its `name`, `address`, `state` ("started", "already running", "elsewhere")
        and, for ours, `log`.

    Raises:
        UserError: A package is missing.
        ServerError: A port is taken, a server died or took too long.
    """
    local, rows = [], []
    for server in (mlflow_server(project, settings), prefect_server(project, settings)):
        if address := _elsewhere(server, project, settings):
            rows.append({"name": server.name, "address": address, "state": "elsewhere"})
            continue
        require_package(server.name)
        local.append(server)
    if local and not launch.is_loopback(settings.servers.host):
        warnings.warn(
            f"servers.host = {settings.servers.host}: anyone who can reach this machine can read "
            "and "
            "change experiments, models and flows, without a password.",
            ChromaflowWarning,
            stacklevel=2,
        )
    fresh = not (project.state / "mlflow.db").exists()
    if fresh and any(server.name == "mlflow" for server in local):
        # Made here, whole: a server killed in the middle of its first start leaves half a database.
        connect(project, settings.model_copy(update={"tracking": Tracking()}))
    started = launch.start_all(local, servers_folder(project), settings.servers.start_timeout)
    return started + rows


def down(project: Project) -> list[dict[str, str]]:
    """End the servers that `up` started, and nothing else; their state is kept.

    Returns:
        For each server `name`, `address` and `state` ("stopped" or "was not running"); empty where
        none was started.
    """
    return launch.stop_all(servers_folder(project))


def running(project: Project, settings: Settings) -> dict[str, str]:
    """The servers that answer now, by name, with their addresses.

    Takes milliseconds where nothing listens or the servers are ours. A PREFECT_API_URL in the
    environment, or a server in tracking.uri, stands for the local one.
    """
    found = {}
    for server in (mlflow_server(project, settings), prefect_server(project, settings)):
        address = _elsewhere(server, project, settings)
        if address:
            parts = urlsplit(address)
            near = launch.is_loopback(parts.hostname or "")
            timeout = 0.2 if near else _REMOTE_SECONDS
            if not launch.listens(parts.hostname or "", _port_of(parts), timeout):
                continue
        else:
            address = launch.probe(servers_folder(project), server)
        if address:
            found[server.name] = address
    return found
