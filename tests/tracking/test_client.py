import contextlib
import http.server
import multiprocessing
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from chromaflow.errors import ServerError
from chromaflow.project.addresses import public_address
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect, experiment_id, tracking_uri


def with_uri(uri: str) -> Settings:
    return Settings.model_validate({"tracking": {"uri": uri}})


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_server_that_is_down_is_named_with_what_starts_it(project: Project) -> None:
    with free_port() as port, pytest.raises(ServerError, match=rf"127.0.0.1:{port}") as raised:
        connect(project, with_uri(f"http://me:hunter2@127.0.0.1:{port}"))
    assert "chromaflow up" in raised.value.remedy
    assert "hunter2" not in str(raised.value)


def test_another_program_at_the_port_is_told(project: Project) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.closing(server.socket), pytest.raises(ServerError, match="is not MLflow"):
        connect(project, with_uri(f"http://127.0.0.1:{server.server_port}"))
    server.shutdown()


def test_a_state_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.state.write_text("a file in its place")
    with pytest.raises(ServerError, match=r"\.chromaflow") as raised:
        connect(project, Settings())
    assert "writable" in raised.value.remedy


def test_a_database_that_is_none_is_told(project: Project) -> None:
    (project.state / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(ServerError, match=r"mlflow\.db"):
        connect(project, Settings())


def test_an_unknown_kind_of_address_is_told(project: Project) -> None:
    with pytest.raises(ServerError, match="gopher"):
        connect(project, with_uri("gopher://host"))


def test_the_default_is_sqlite_with_artifacts_in_the_checkout(
    project: Project, settings: Settings
) -> None:
    assert tracking_uri(project, settings) == f"sqlite:///{project.root}/.chromaflow/mlflow.db"
    client = connect(project, settings)
    number = experiment_id(client, project, settings)
    place = client.get_experiment(number).artifact_location
    assert place == (project.state / "artifacts").as_uri()
    assert experiment_id(client, project, settings) == number
    client.delete_experiment(number)
    assert experiment_id(client, project, settings) == number


def test_a_moved_checkout_is_told_with_its_remedy(project: Project, settings: Settings) -> None:
    client = connect(project, settings)
    experiment_id(client, project, settings)
    (project.state / "artifacts").mkdir()
    moved = Project(project.root.with_name("moved"))
    project.root.rename(moved.root)
    with pytest.raises(ServerError, match="was moved") as raised:
        experiment_id(connect(moved, settings), moved, settings)
    assert "ln -s" in raised.value.remedy
    subprocess.run(["sh", "-c", raised.value.remedy.partition(", or")[0]], check=True)
    assert experiment_id(connect(moved, settings), moved, settings) == "1"


def _use(root: Path, found: "Queue[str]") -> None:
    project = Project(root)
    found.put(experiment_id(connect(project, Settings()), project, Settings()))


def test_first_use_by_two_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    users = [context.Process(target=_use, args=(tmp_path / "new", found)) for _ in range(2)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert [user.exitcode for user in users] == [0, 0]
    assert [found.get() for _ in users] == ["1", "1"]
    assert [path.name for path in (tmp_path / "new" / ".chromaflow").glob("*.db*")] == ["mlflow.db"]


def _die_half_way(root: Path) -> None:
    def die(*arguments: object, **keywords: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    import alembic.runtime.migration

    alembic.runtime.migration.HeadMaintainer.update_to_step = die
    connect(Project(root), Settings())


def test_a_kill_while_the_tables_are_made_leaves_nothing_behind(tmp_path: Path) -> None:
    root = tmp_path / "new"
    killed = multiprocessing.get_context("fork").Process(target=_die_half_way, args=(root,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    state = root / ".chromaflow"
    assert not (state / "mlflow.db").exists()
    connect(Project(root), Settings())
    assert sorted(path.name for path in state.iterdir()) == ["mlflow.db", "mlflow.lock"]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://a:b@h:1/x", "http://h:1/x"),
        ("postgresql://u:p@h/db", "postgresql://h/db"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
    ],
)
def test_passwords_are_not_shown(uri: str, shown: str) -> None:
    assert public_address(uri) == shown
