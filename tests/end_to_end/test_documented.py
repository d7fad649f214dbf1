"""The commands of README and docs, in a temporary clone; two pages have files of their own."""

from pathlib import Path

import pytest

from chromaflow.project.paths import Project
from tests.support.documented import OTHERS, run_commands

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(7200)]


def test_the_commands_of_the_documents_run(
    trained: tuple[Project, str], examples: dict[str, Path]
) -> None:
    project, _ = trained
    assert run_commands(project, OTHERS, examples)
    assert len(list((project.root / "colorized").glob("*-color.jpg"))) == 20
