from collections.abc import Iterator
from pathlib import Path

import pytest

from chromaflow.project.paths import Project
from tests.support.hosts import Host
from tests.support.http_server import Server
from tests.support.snapshots import picture


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as started:
        yield started


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    (tmp_path / "checkout").mkdir()
    return Project(tmp_path / "checkout")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten photographs, each another."""
    made = tmp_path / "photographs"
    made.mkdir()
    for index in range(10):
        (made / f"{index:02d}.png").write_bytes(picture(index))
    return made


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees, or sends, the token of who runs it."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the proxy of who runs it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
