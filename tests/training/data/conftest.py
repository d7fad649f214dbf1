from collections.abc import Callable

import pytest

from chromaflow.project.paths import Project

MakeLab = Callable[..., Project]


@pytest.fixture
def project(make_lab: MakeLab) -> Project:
    return make_lab()
