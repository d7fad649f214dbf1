import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from chromaflow.errors import ChromaflowWarning, ServerError, UserError
from chromaflow.project.paths import Project
from chromaflow.services import launch
from chromaflow.services import local as servers
from chromaflow.services import prefect as prefect_env
from chromaflow.services.launch import Server
from chromaflow.services.processes import birth_of
from chromaflow.settings import Settings


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        monkeypatch.delenv(name)


def free_ports(count: int) -> list[int]:
    tests = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [test.getsockname()[1] for test in tests]
    for test in tests:
        test.close()
    return ports


@pytest.fixture
def values() -> Settings:
    mlflow, prefect = free_ports(2)
    group = {"mlflow_port": mlflow, "prefect_port": prefect, "start_timeout": "25min"}
    return Settings.model_validate({"servers": group})


@pytest.fixture
def ended(project: Project) -> Iterator[None]:
    yield
    servers.down(project)


def ask(
    url: str, body: Mapping[str, Any] | None = None, **headers: str
) -> tuple[dict[str, Any], Message]:
    """The JSON object and the headers that a server answers."""
    data = None if body is None else json.dumps(body).encode()
    headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data, headers)  # noqa: S310 (our own address)
    with urllib.request.urlopen(request, timeout=600) as response:  # noqa: S310
        return json.load(response), response.headers


@pytest.fixture
def stand_ins(make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins in place of both servers, at the ports of the settings."""

    def replaced(name: str) -> Callable[[Project, Settings], Server]:
        return lambda _, values: make_server(
            name=name, port=getattr(values.servers, f"{name}_port")
        )

    for name in ("mlflow", "prefect"):
        monkeypatch.setattr(servers, f"{name}_server", replaced(name))


@pytest.mark.usefixtures("ended", "stand_ins")
def test_up_and_down(project: Project, values: Settings) -> None:
    assert servers.running(project, values) == {}
    rows = servers.up(project, values)
    assert [(row["name"], row["state"]) for row in rows] == [
        ("mlflow", "started"),
        ("prefect", "started"),
    ]
    addresses = {row["name"]: row["address"] for row in rows}
    assert servers.running(project, values) == addresses
    assert {row["state"] for row in servers.up(project, values)} == {"already running"}
    assert {row["state"] for row in servers.down(project)} == {"stopped"}
    assert servers.down(project) == []
    assert servers.running(project, values) == {}


@pytest.mark.usefixtures("ended", "stand_ins")
def test_public_host_is_warned_of(project: Project, values: Settings) -> None:
    group = values.servers.model_copy(update={"host": "0.0.0.0"})  # noqa: S104
    with pytest.warns(ChromaflowWarning, match="without a password"):
        rows = servers.up(project, values.model_copy(update={"servers": group}))
    assert {row["state"] for row in rows} == {"started"}


@pytest.mark.usefixtures("ended", "stand_ins")
def test_servers_named_elsewhere_are_not_started(
    project: Project, values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://me:secret@prefect.example.org/api")
    tracking = values.tracking.model_copy(update={"uri": "http://mlflow.example.org:5000"})
    elsewhere = servers.up(project, values.model_copy(update={"tracking": tracking}))
    assert [(row["name"], row["state"], row["address"]) for row in elsewhere] == [
        ("mlflow", "elsewhere", "http://mlflow.example.org:5000"),
        ("prefect", "elsewhere", "https://prefect.example.org/api"),
    ]
    monkeypatch.setenv("PREFECT_API_URL", f"http://localhost:{values.servers.prefect_port}/api")
    uri = f"http://127.0.0.1:{values.servers.mlflow_port}"
    tracking = values.tracking.model_copy(update={"uri": uri})
    local = servers.up(project, values.model_copy(update={"tracking": tracking}))
    assert {row["state"] for row in local} == {"started"}


def test_missing_package(
    project: Project, values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="mlflow is not installed") as caught:
        servers.up(project, values)
    assert "chromaflow[tracking]" in caught.value.remedy
    with pytest.raises(UserError, match="prefect is not installed"):
        prefect_env.environment_with_server(project, values)


def test_password_of_the_database_is_not_on_the_command_line(
    project: Project, values: Settings
) -> None:
    uri = "postgresql://me:secret@db.example.org/mlflow"
    tracking = values.tracking.model_copy(update={"uri": uri})
    server = servers.mlflow_server(project, values.model_copy(update={"tracking": tracking}))
    assert server.environment["MLFLOW_BACKEND_STORE_URI"] == uri
    assert "secret" not in " ".join(server.command)


def test_environment_without_a_server(project: Project, values: Settings) -> None:
    environment = prefect_env.prefect_environment(project, values)
    assert "PREFECT_API_URL" not in environment
    assert environment["PREFECT_HOME"] == str(project.state / "prefect")
    assert environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] == "120"
    assert environment["DO_NOT_TRACK"] == "true"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


@pytest.mark.usefixtures("ended", "stand_ins")
def test_environment_with_a_local_server(project: Project, values: Settings) -> None:
    rows = {row["name"]: row["address"] for row in servers.up(project, values)}
    environment = prefect_env.environment_with_server(project, values)
    assert environment["PREFECT_API_URL"] == f"{rows['prefect']}/api"


def test_environment_of_the_user_wins(
    project: Project, values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "DEBUG")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        monkeypatch.setenv("PREFECT_API_URL", url)
        assert servers.running(project, values) == {"prefect": url}
        environment = prefect_env.prefect_environment(project, values)
    assert environment["PREFECT_API_URL"] == url
    assert environment["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "DEBUG"
    assert "PREFECT_HOME" not in environment, "the user's profile may hold the key to that server"
    assert servers.running(project, values) == {}
    with pytest.raises(ServerError, match=f"nothing answers at PREFECT_API_URL = {url}"):
        prefect_env.prefect_environment(project, values)


def test_waiting_for_a_server_that_died(
    project: Project, values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect_env.wait_for_server(project, values)
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{values.servers.prefect_port}/api")
    folder = servers.servers_folder(project)
    folder.mkdir(parents=True)
    (folder / "temporary-prefect.log").write_text("ImportError: fastapi\n")
    with pytest.raises(ServerError, match="exited during start-up") as caught:
        prefect_env.wait_for_server(project, values)
    assert "ImportError: fastapi" in caught.value.problem


# What `chromaflow retrain` does: the process that asked becomes the flow.
FLOW = """
import os, sys
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.services import prefect as prefect_env
project, values = Project(Path(sys.argv[1])), Settings.model_validate_json(sys.argv[2])
if "PREFECT_API_URL" not in os.environ:
    environment = prefect_env.environment_with_server(project, values)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
print(os.environ["PREFECT_API_URL"], flush=True)
prefect_env.wait_for_server(project, values)
print("ready", flush=True)
sys.stdin.read()
"""


def test_temporary_server_ends_with_a_killed_flow(project: Project, values: Settings) -> None:
    ports = values.servers.model_dump(include={"mlflow_port", "prefect_port"})
    dump = {"servers": {**ports, "start_timeout": "25min"}}
    source = str(Path(servers.__file__).parents[2])
    flow = subprocess.Popen(
        [sys.executable, "-c", FLOW, str(project.root), json.dumps(dump)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert flow.stdout is not None
    url = flow.stdout.readline().strip()
    port = int(url.removesuffix("/api").rpartition(":")[2])
    assert launch.listens("127.0.0.1", port), "it takes connections before it is ready"
    assert flow.stdout.readline().strip() == "ready"
    assert (project.state / "prefect" / "prefect.db").is_file()
    flow.send_signal(signal.SIGKILL)
    flow.communicate()
    # Where the temporary server outlives its flow, this never ends.
    while launch.listens("127.0.0.1", port):
        time.sleep(0.05)


@pytest.mark.usefixtures("ended")
def test_real_servers(project: Project, values: Settings) -> None:
    rows = {row["name"]: row for row in servers.up(project, values)}
    mlflow, prefect = rows["mlflow"]["address"], rows["prefect"]["address"]
    assert servers.running(project, values) == {"mlflow": mlflow, "prefect": prefect}

    made, _ = ask(f"{mlflow}/api/2.0/mlflow/experiments/create", {"name": "trial"})
    path = f"experiments/get?experiment_id={made['experiment_id']}"
    experiment = ask(f"{mlflow}/api/2.0/mlflow/{path}")[0]["experiment"]
    assert experiment["artifact_location"].startswith((project.state / "artifacts").as_uri())
    assert (project.state / "mlflow.db").is_file()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1", Host="evil.example.org")

    assert ask(f"{prefect}/ui-settings")[0]["api_url"] == f"{prefect}/api"
    _, headers = ask(f"{prefect}/api/health", Origin="https://evil.example.org")
    assert "Access-Control-Allow-Origin" not in headers
    assert (project.state / "prefect" / "prefect.db").is_file()

    folder = servers.servers_folder(project)
    records = [launch.read_record(folder, name) for name in rows]
    processes = [process for record in records if record for process in record.processes]
    assert len(processes) == 3, "MLflow's command with its one worker, and Prefect"
    servers.down(project)
    assert not any(birth_of(process.pid) for process in processes)
