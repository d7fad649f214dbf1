"""The commands of docs/systems.md, in a temporary clone: the first of them retrains."""

from pathlib import Path

import pytest

from chromaflow.project.paths import Project
from tests.support.documented import SYSTEMS, run_commands

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(7200)]


def test_the_commands_of_the_document_run(untrained: Project, examples: dict[str, Path]) -> None:
    assert run_commands(untrained, [SYSTEMS], examples)
