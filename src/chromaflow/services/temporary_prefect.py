"""Run Prefect's server on an inherited socket until the standard input closes.

Started as a program by `prefect_env`, with the number of the socket as its argument.
"""

import fcntl
import gc
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import uvicorn


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Two servers that make the tables of one new database at once would both fail.
        path = Path(os.environ["PREFECT_HOME"]) / "startup.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            await super().startup(sockets)


def _end_with_parent() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve until whoever holds the other end of the standard input is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Imports make nothing but lasting objects; looking for garbage among them takes a tenth.
    gc.disable()
    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, log_level="warning", lifespan="on"
    )
    config.load()
    gc.enable()
    _Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
