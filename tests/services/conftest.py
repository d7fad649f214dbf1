"""A tiny server that is started, probed and ended by the same machinery as the real ones."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chromaflow.services import launch
from chromaflow.services.launch import Server

# argv: port, mode. "parent" serves from a child, as MLflow does; "stubborn" ignores SIGTERM.
STAND_IN = """
import http.server, signal, subprocess, sys, time
port, mode = int(sys.argv[1]), sys.argv[2]
if mode == "dies":
    sys.exit("the database is from another century")
if mode == "silent":
    time.sleep(600)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "parent":
    sys.exit(subprocess.call([sys.executable, "-c", sys.argv[3], str(port), "plain"]))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"OK")
print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
MakeServer = Callable[..., Server]


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as test:
        test.bind(("127.0.0.1", 0))
        port: int = test.getsockname()[1]
    return port


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of logs and pid files; whatever was started is ended after the test."""
    path = tmp_path / "servers"
    yield path
    launch.stop_all(path)


@pytest.fixture
def make_server() -> MakeServer:
    """A maker of stand-ins for MLflow."""

    def make(mode: str = "plain", name: str = "mlflow", port: int = 0) -> Server:
        port = port or free_port()
        command = [sys.executable, "-c", STAND_IN, str(port), mode, STAND_IN]
        setting = f"servers.{name}_port"
        return Server(
            name, name.title(), command, os.environ, "127.0.0.1", port, setting, "/health", b"OK"
        )

    return make
