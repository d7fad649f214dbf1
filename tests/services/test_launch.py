import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chromaflow.errors import ServerError
from chromaflow.services import launch
from chromaflow.services.launch import Server
from chromaflow.services.processes import birth_of

SECONDS = 600.0


def pid_of(folder: Path, name: str = "mlflow") -> int:
    record = launch.read_record(folder, name)
    assert record is not None
    return record.processes[0].pid


def test_start_find_and_stop(folder: Path, make_server: Callable[..., Server]) -> None:
    server = make_server()
    assert launch.probe(folder, server) == ""
    first = launch.start_all([server], folder, SECONDS)
    assert first[0]["state"] == "started"
    assert first[0]["address"] == f"http://127.0.0.1:{server.port}"
    assert "serving" in Path(first[0]["log"]).read_text()
    pid = pid_of(folder)
    assert os.getsid(pid) == pid, "Ctrl-C in the terminal must not reach it"
    assert launch.probe(folder, server) == server.address

    again = launch.start_all([server], folder, SECONDS)
    assert again[0]["state"] == "already running"
    assert pid_of(folder) == pid

    assert [row["state"] for row in launch.stop_all(folder)] == ["stopped"]
    assert birth_of(pid) is None
    assert not launch.listens("127.0.0.1", server.port)
    assert launch.stop_all(folder) == []


def test_stop_before_anything_started(tmp_path: Path) -> None:
    assert launch.stop_all(tmp_path / "servers") == []
    assert not (tmp_path / "servers").exists()


def test_two_servers_start_side_by_side(folder: Path, make_server: Callable[..., Server]) -> None:
    servers = [make_server(), make_server(name="prefect")]
    rows = launch.start_all(servers, folder, SECONDS)
    assert [row["name"] for row in rows] == ["mlflow", "prefect"]
    assert {row["state"] for row in launch.stop_all(folder)} == {"stopped"}


def test_taken_port_is_named_and_nothing_starts(
    folder: Path, make_server: Callable[..., Server]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        servers = [make_server(name="prefect"), make_server(port=port)]
        with pytest.raises(ServerError) as caught:
            launch.start_all(servers, folder, SECONDS)
    assert f"port {port}" in caught.value.problem
    assert "servers.mlflow_port" in caught.value.problem
    assert f"process {os.getpid()} (" in caught.value.problem
    assert f"servers.mlflow_port={port + 1}" in caught.value.remedy
    assert not list(folder.glob("*.json"))


def test_connections_that_just_ended_do_not_hold_the_port(
    folder: Path, make_server: Callable[..., Server]
) -> None:
    server = make_server()
    for _ in range(2):
        assert launch.start_all([server], folder, SECONDS)[0]["state"] == "started"
        launch.stop_all(folder)


def test_host_of_another_machine(folder: Path, make_server: Callable[..., Server]) -> None:
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(ServerError, match=r"servers\.host"):
            launch.require_free(replace(make_server(), host=host))


def test_death_at_start_shows_the_log(folder: Path, make_server: Callable[..., Server]) -> None:
    with pytest.raises(ServerError) as caught:
        launch.start_all([make_server("dies")], folder, SECONDS)
    assert "exited during start-up" in caught.value.problem
    assert "another century" in caught.value.problem
    assert str(folder / "mlflow.log") in caught.value.remedy
    assert not list(folder.glob("*.json"))


def test_silence_is_ended_after_the_timeout(
    folder: Path, make_server: Callable[..., Server]
) -> None:
    with pytest.raises(ServerError, match=r"within 0.3 s \(servers.start_timeout\)"):
        launch.start_all([make_server("silent")], folder, 0.3)
    assert not list(folder.glob("*.json"))


def test_killed_server_starts_anew(folder: Path, make_server: Callable[..., Server]) -> None:
    server = make_server()
    launch.start_all([server], folder, SECONDS)
    killed = pid_of(folder)
    os.kill(killed, signal.SIGKILL)
    while birth_of(killed):
        time.sleep(0.01)
    assert launch.probe(folder, server) == ""
    assert launch.start_all([server], folder, SECONDS)[0]["state"] == "started"
    assert pid_of(folder) != killed


def test_child_of_a_killed_server_gives_the_port_back(
    folder: Path, make_server: Callable[..., Server]
) -> None:
    server = make_server("parent")
    launch.start_all([server], folder, SECONDS)
    record = launch.read_record(folder, "mlflow")
    assert record is not None
    leader, child = record.processes
    os.kill(leader.pid, signal.SIGKILL)
    while leader.alive:
        time.sleep(0.01)
    assert child.alive
    assert launch.start_all([server], folder, SECONDS)[0]["state"] == "started"
    assert not child.alive


def test_recycled_pid_is_never_ended(folder: Path, make_server: Callable[..., Server]) -> None:
    bystander = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    try:
        server = make_server()
        launch.start_all([server], folder, SECONDS)
        launch.stop_all(folder)
        record = {
            "processes": [{"pid": bystander.pid, "birth": "1"}],
            "host": server.host,
            "port": server.port,
        }
        (folder / "mlflow.json").write_text(json.dumps(record))
        assert launch.probe(folder, server) == ""
        assert launch.start_all([server], folder, SECONDS)[0]["state"] == "started"
        (folder / "mlflow.json").rename(folder / "mine.json")
        (folder / "mlflow.json").write_text(json.dumps(record))
        states = {row["name"]: row["state"] for row in launch.stop_all(folder)}
        assert states == {"mine": "stopped", "mlflow": "was not running"}
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"processes": []}', '{"processes": [{}]}'])
def test_damaged_pid_file(folder: Path, make_server: Callable[..., Server], text: str) -> None:
    folder.mkdir()
    (folder / "mlflow.json").write_text(text)
    assert launch.probe(folder, make_server()) == ""
    assert launch.start_all([make_server()], folder, SECONDS)[0]["state"] == "started"


def test_stubborn_server_is_killed(
    folder: Path, make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_GRACE_SECONDS", 0.2)
    launch.start_all([make_server("stubborn")], folder, SECONDS)
    pid = pid_of(folder)
    assert launch.stop_all(folder)[0]["state"] == "stopped"
    assert birth_of(pid) is None


def test_new_port_counts_after_down(folder: Path, make_server: Callable[..., Server]) -> None:
    old = make_server()
    launch.start_all([old], folder, SECONDS)
    new = make_server()
    row = launch.start_all([new], folder, SECONDS)[0]
    assert row["address"] == old.address
    assert f"servers.mlflow_port = {new.port} takes effect after chromaflow down" in row["state"]
    assert launch.probe(folder, new) == old.address


def test_two_at_once_start_one_server(folder: Path, make_server: Callable[..., Server]) -> None:
    server = make_server()
    rows: list[dict[str, str]] = []
    threads = [
        threading.Thread(target=lambda: rows.extend(launch.start_all([server], folder, SECONDS)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["state"] for row in rows) == ["already running"] * 2 + ["started"]


def test_lock_that_another_holds(folder: Path) -> None:
    with (
        launch.lock(folder, 1.0),
        pytest.raises(ServerError, match="starts or stops the servers"),
        launch.lock(folder, 0.05),
    ):
        pass


def test_stranger_has_to_answer_as_the_server_would(
    folder: Path, make_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = make_server()
    launch.start_all([server], tmp_path / "of another checkout", SECONDS)
    try:
        assert launch.probe(folder, server) == server.address
        assert launch.probe(folder, replace(server, answer=b"true")) == ""
    finally:
        launch.stop_all(tmp_path / "of another checkout")


@pytest.mark.parametrize(
    ("host", "loopback", "place"),
    [
        ("127.0.0.1", True, "127.0.0.1:5000"),
        ("localhost", True, "localhost:5000"),
        ("::1", True, "[::1]:5000"),
        ("0.0.0.0", False, "127.0.0.1:5000"),  # noqa: S104
        ("::", False, "[::1]:5000"),
        ("192.168.1.7", False, "192.168.1.7:5000"),
        ("example.org", False, "example.org:5000"),
    ],
)
def test_hosts(host: str, loopback: bool, place: str) -> None:
    assert launch.is_loopback(host) is loopback
    assert launch.join_address(host, 5000) == place


def test_long_log_is_cut(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * 200_000 + b"\n" + b"\xff last\n\n")
    lines = launch.last_lines(log).splitlines()
    assert lines[-1].strip() == "\ufffd last"
    assert all(len(line) <= 304 for line in lines)
    assert launch.last_lines(tmp_path / "none.log") == ""
