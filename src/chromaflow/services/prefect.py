"""What a flow needs around it: Prefect's settings, and a server for as long as the flow lives.

Prefect's own temporary server costs a flow its start-up twice, as the flow imports the whole server
first and waits for it after, and outlives a flow that is killed. This one starts while the flow
imports Prefect, listens on a port that is free for certain, and ends with the flow, however that
ends.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from chromaflow.errors import ServerError
from chromaflow.project import dvc
from chromaflow.project.packages import require_package
from chromaflow.project.paths import Project
from chromaflow.services import launch
from chromaflow.services.local import running, servers_folder
from chromaflow.settings import Settings

_LAUNCHER = Path(__file__).with_name("temporary_prefect.py")
_LOG = "temporary-prefect.log"
_DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The first request may wait for a server that is still starting on a busy machine.
    "PREFECT_API_REQUEST_TIMEOUT": "120",
    # The terminal shows what the steps say, errors among them; Prefect's pages show every message.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


def prefect_environment(project: Project, settings: Settings) -> dict[str, str]:
    """The whole environment of a process that runs a flow.

    PREFECT_API_URL is the user's own where it is set, then a local server that answers; without
    either it is absent, and Prefect starts a temporary server of its own.

    Raises:
        UserError: Prefect is missing.
        ServerError: Nothing answers at the user's PREFECT_API_URL.
    """
    require_package("prefect")
    environment = _DEFAULTS | dvc.environment()
    address = running(project, settings).get("prefect", "")
    if named := os.environ.get("PREFECT_API_URL"):
        if not address:
            raise ServerError(
                f"nothing answers at PREFECT_API_URL = {named}.",
                "unset PREFECT_API_URL, or start that server",
            )
        # A server of the user's own goes with the user's own profile and key.
        return environment
    environment["PREFECT_HOME"] = str(project.state / "prefect")
    if address:
        environment["PREFECT_API_URL"] = f"{address}/api"
    return environment


def environment_with_server(project: Project, settings: Settings) -> dict[str, str]:
    """As `prefect_environment`, with a temporary server already starting where none answers.

    That server ends when this process ends, or the program that this process becomes by
    `os.execve` with this environment. It takes connections from the first moment; requests wait
    until it is ready, `wait_for_server` reports if it never will be.

    Raises:
        UserError: Prefect is missing.
        ServerError: Nothing answers at the user's PREFECT_API_URL.
    """
    environment = prefect_environment(project, settings)
    if "PREFECT_API_URL" in environment:
        return environment
    folder = servers_folder(project)
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        _start(environment, listener, folder)
    # A link to pages that end with the run would mislead.
    return environment | {"PREFECT_API_URL": f"{address}/api", "PREFECT_UI_URL": ""}


def _start(environment: dict[str, str], listener: socket.socket, folder: Path) -> None:
    read_end, write_end = os.pipe()
    server_environment = environment | {
        # As Prefect sets for its own temporary server: no pages, only the services of a run.
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "http://127.0.0.1",
    }
    command = [sys.executable, "-P", str(_LAUNCHER), str(listener.fileno())]
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=server_environment,
            stdin=read_end,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    os.close(read_end)
    # Kept open until the end of this process, also across execve: the server waits for its end.
    os.set_inheritable(write_end, True)
    process.returncode = 0


def wait_for_server(project: Project, settings: Settings) -> None:
    """Wait until the server at PREFECT_API_URL is ready; return at once where there is none.

    Raises:
        ServerError: It died, or was not ready within servers.start_timeout.
    """
    url = os.environ.get("PREFECT_API_URL", "")
    parts = urlsplit(url)
    if not launch.is_loopback(parts.hostname or "") or parts.port is None:
        return
    host, health = parts.hostname or "", f"{parts.path}/health"
    deadline = time.monotonic() + settings.servers.start_timeout
    while not launch.answers(host, parts.port, health, b"true", settings.servers.start_timeout):
        gone = not launch.listens(host, parts.port)
        if gone or time.monotonic() > deadline:
            log = servers_folder(project) / _LOG
            problem = "exited during start-up" if gone else "was not ready in servers.start_timeout"
            tail = launch.last_lines(log)
            raise ServerError(
                f"the Prefect server at {url} {problem}" + (f":\n{tail}" if tail else "."),
                f"read {log}; chromaflow doctor",
            )
        time.sleep(0.05)
