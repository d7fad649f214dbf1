import pytest

from tests.support.clips import pan, write_clip


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", pan(), sound="aac")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"
