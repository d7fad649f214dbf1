"""Servers in the background: start, find and stop them."""

import contextlib
import errno
import fcntl
import http.client
import ipaddress
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chromaflow.console import progress
from chromaflow.errors import ServerError
from chromaflow.project import files
from chromaflow.services.processes import Process, birth_of, describe_listener, end, group_of

_GRACE_SECONDS = 10.0
_STRANGER_SECONDS = 1.0
_LOG_LINES = 8


@dataclass(frozen=True)
class Server:
    """A server that can be started.

    Args:
        name: In file names and results, such as "mlflow".
        title: As its makers write it.
        command: The program and its arguments.
        environment: The whole environment of its process.
        host: Address to bind.
        port: Port to bind.
        setting: The setting that holds the port.
        health: Path that answers once the server is ready.
        answer: What it answers.
    """

    name: str
    title: str
    command: Sequence[str]
    environment: Mapping[str, str]
    host: str
    port: int
    setting: str
    health: str
    answer: bytes

    @property
    def address(self) -> str:
        """Where a browser of this machine finds it."""
        return f"http://{join_address(self.host, self.port)}"


@dataclass(frozen=True)
class Record:
    """What is known of a server that was started: the content of its pid file.

    Args:
        processes: Its leader, then what else was seen of its group.
        host: Address to bind.
        port: Port to bind.
    """

    processes: tuple[Process, ...]
    host: str
    port: int

    @property
    def alive(self) -> bool:
        """Whether its leader runs."""
        return self.processes[0].alive

    @property
    def address(self) -> str:
        """Where a browser of this machine finds it."""
        return f"http://{join_address(self.host, self.port)}"


def reachable(host: str) -> str:
    """The address by which this machine reaches a server bound to a host."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def join_address(host: str, port: int) -> str:
    """Host and port as they stand in an address, for a server of this machine."""
    host = reachable(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server bound to a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listens(host: str, port: int, timeout: float = 0.2) -> bool:
    """Whether anything takes connections there."""
    try:
        socket.create_connection((reachable(host), port), timeout).close()
    except OSError:
        return False
    return True


def answers(host: str, port: int, health: str, answer: bytes, timeout: float) -> bool:
    """Whether a server is ready: its health route gives what it should."""
    connection = http.client.HTTPConnection(reachable(host), port, timeout=timeout)
    try:
        connection.request("GET", health)
        response = connection.getresponse()
        return response.status == 200 and response.read(64).strip() == answer
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def read_record(folder: Path, name: str) -> Record | None:
    """The pid file of a server; None where there is none or it is damaged."""
    try:
        value = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        processes = tuple(Process(int(p["pid"]), str(p["birth"])) for p in value["processes"])
        return Record(processes, str(value["host"]), int(value["port"])) if processes else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_record(folder: Path, server: Server, processes: Sequence[Process]) -> Record:
    record = Record(tuple(processes), server.host, server.port)
    rows = [{"pid": process.pid, "birth": process.birth} for process in processes]
    value = {"processes": rows, "host": server.host, "port": server.port}
    files.write_json(folder / f"{server.name}.json", value)
    return record


@contextlib.contextmanager
def lock(folder: Path, patience: float) -> Iterator[None]:
    """Let one process at a time start or stop the servers of a checkout.

    Raises:
        ServerError: Another holds the lock for longer than `patience` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    deadline = time.monotonic() + patience
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"another chromaflow holds {path}: it starts or stops the servers.",
                        "wait for it, or end it, and run the command again",
                    ) from None
                time.sleep(0.1)
        yield


def start_all(servers: Sequence[Server], folder: Path, timeout: float) -> list[dict[str, str]]:
    """Start the servers that do not run yet, side by side, and wait until each is ready.

    Args:
        servers: What to start.
        folder: Where logs and pid files go.
        timeout: Seconds to wait for them.

    Returns:
        For each server its `name`, `address`, `state` ("started" or "already running") and `log`.

    Raises:
        ServerError: A port is taken, a server died or did not answer in time.
    """
    with lock(folder, 2 * timeout):
        records = {server.name: _find(folder, server) for server in servers}
        new = [server for server in servers if records[server.name] is None]
        for server in new:
            require_free(server)
        states = {server.name: "started" for server in new}
        waiting: list[Server] = []
        try:
            for server in servers:
                waiting.append(server)
                records[server.name] = records[server.name] or _spawn(folder, server)
            _wait_for_all(waiting, records, folder, timeout)
        except BaseException:
            for server in waiting:
                if server in new and (record := records[server.name]) is not None:
                    end(record.processes, _GRACE_SECONDS)
                    (folder / f"{server.name}.json").unlink(missing_ok=True)
            raise
        return [_row(folder, server, records, states) for server in servers]


def _row(
    folder: Path, server: Server, records: Mapping[str, Record | None], states: Mapping[str, str]
) -> dict[str, str]:
    record = records[server.name]
    address = record.address if record else server.address
    state = states.get(server.name, "already running")
    if address != server.address:
        state += f"; {server.setting} = {server.port} takes effect after chromaflow down"
    log = str(folder / f"{server.name}.log")
    return {"name": server.name, "address": address, "state": state, "log": log}


def _find(folder: Path, server: Server) -> Record | None:
    """The record of a server that runs; what a killed one left behind is ended and forgotten."""
    record = read_record(folder, server.name)
    if record is None or record.alive:
        return record
    end(record.processes, _GRACE_SECONDS)
    return None


def require_free(server: Server) -> None:
    """Make sure that a server can bind its port.

    Raises:
        ServerError: It cannot, naming the port, the setting and, where known, the process.
    """
    host, port = server.host, server.port
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as test:
            # Without it, connections that ended a moment ago would still hold the port.
            test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            test.bind(where)
    except socket.gaierror:
        raise ServerError(
            f"servers.host = {host} is not an address of this machine.", _HOST
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            who = describe_listener(port) or "another process"
            raise ServerError(
                f"port {port} of {server.title} ({server.setting}) is in use by {who}.",
                f"stop it, or choose another port: --set {server.setting}={port + 1}",
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise ServerError(
                f"servers.host = {host} is not an address of this machine.", _HOST
            ) from None
        raise ServerError(
            f"{server.title} cannot bind port {port} ({server.setting}): {error.strerror}.",
            f"choose a port above 1023: --set {server.setting}=…",
        ) from None


_HOST = "--set servers.host=127.0.0.1"


def _spawn(folder: Path, server: Server) -> Record:
    with (folder / f"{server.name}.log").open("wb") as log:
        process = subprocess.Popen(
            server.command,
            cwd=folder,
            env=dict(server.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    leader = Process(process.pid, birth_of(process.pid) or "")
    # It outlives this process, which therefore does not wait for its end.
    process.returncode = 0
    return _write_record(folder, server, [leader])


def _wait_for_all(
    waiting: list[Server], records: dict[str, Record | None], folder: Path, timeout: float
) -> None:
    """Wait until every server is ready; those that are leave the list."""
    deadline = time.monotonic() + timeout
    names = " and ".join(server.title for server in waiting)
    with progress(f"Starting {names}", total=len(waiting)) as advance:
        while waiting:
            for server in list(waiting):
                record = records[server.name]
                if record is None or not record.alive:
                    raise _failed(folder, server, "exited during start-up")
                if answers(record.host, record.port, server.health, server.answer, 1.0):
                    waiting.remove(server)
                    advance(1)
                    members = group_of(record.processes[0].pid)
                    if members and record.address == server.address:
                        records[server.name] = _write_record(folder, server, members)
                elif time.monotonic() > deadline:
                    seconds = f"{timeout:g} s (servers.start_timeout)"
                    raise _failed(folder, server, f"did not answer within {seconds}")
            if waiting:
                time.sleep(0.05)


def _failed(folder: Path, server: Server, what: str) -> ServerError:
    log = folder / f"{server.name}.log"
    tail = last_lines(log)
    return ServerError(
        f"{server.title} at {server.address} {what}" + (f":\n{tail}" if tail else "."),
        f"read {log}; then chromaflow down and chromaflow up",
    )


def last_lines(log: Path) -> str:
    """The end of a log, indented; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    kept = [line.rstrip()[:300] for line in lines if line.strip()]
    return "\n".join(f"    {line}" for line in kept[-_LOG_LINES:])


def stop_all(folder: Path) -> list[dict[str, str]]:
    """End the servers that `start_all` started, and nothing else.

    Returns:
        For each server with a pid file its `name`, `address` and `state` ("stopped" or "was not
        running"). A second call gives an empty list.
    """
    if not folder.is_dir():
        return []
    rows = []
    with lock(folder, 60.0):
        for path in sorted(folder.glob("*.json")):
            record = read_record(folder, path.stem)
            was = record is not None and end(record.processes, _GRACE_SECONDS)
            path.unlink(missing_ok=True)
            address = record.address if record else ""
            state = "stopped" if was else "was not running"
            rows.append({"name": path.stem, "address": address, "state": state})
    return rows


def probe(folder: Path, server: Server) -> str:
    """The address at which a server answers now; empty where none does.

    Ours are recognized by process and open port, so that a busy machine does not hide them;
    somebody else's has to answer its health route.
    """
    record = read_record(folder, server.name)
    if record is not None and record.alive and listens(record.host, record.port):
        return record.address
    host, port = server.host, server.port
    if not listens(host, port):
        return ""
    found = answers(host, port, server.health, server.answer, _STRANGER_SECONDS)
    return server.address if found else ""
