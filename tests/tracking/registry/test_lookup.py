import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.registry import lookup
from chromaflow.tracking.registry.registry import Registry

Serve = Callable[[int, bytes], Settings]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that is healthy and gives one answer; gives the settings that name it."""
    servers = []

    def start(code: int, body: bytes) -> Settings:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                healthy = self.path == "/health"
                self.send_response(200 if healthy else code)
                self.end_headers()
                self.wfile.write(b"OK" if healthy else body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return Settings.model_validate(
            {"tracking": {"uri": f"http://127.0.0.1:{server.server_port}"}}
        )

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def unasked(*_: object) -> None:
    pytest.fail("MLflow's client was asked")


def test_a_server_that_knows_no_champion(
    project: Project, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "connect", unasked)
    unknown = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no alias champion"}'
    assert Registry(project, serve(404, unknown)).champion() is None


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (404, b"<html>RESOURCE_DOES_NOT_EXIST</html>"),
        (404, b'{"error_code": "ENDPOINT_NOT_FOUND", "message": "RESOURCE_DOES_NOT_EXIST"}'),
        (404, b'["RESOURCE_DOES_NOT_EXIST"]'),
        (404, b""),
        (500, b'{"error_code": "INTERNAL_ERROR"}'),
        (200, b"<html>sign in</html>"),
    ],
)
def test_any_other_answer_is_asked_again_through_the_client(
    project: Project, serve: Serve, monkeypatch: pytest.MonkeyPatch, code: int, body: bytes
) -> None:
    version = lookup.Version("chromaflow", 7, "", "", 0)
    monkeypatch.setattr(Registry, "connect", lambda _: None)
    monkeypatch.setattr(lookup, "_by_client", lambda *_: version)
    assert Registry(project, serve(code, body)).champion() is version
