from pathlib import Path

import pytest

from tests.support.clips import pan, write_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", pan(), sound="aac")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
