"""The commands of docs/colorizing.md, in a temporary clone with an untrained model."""

from pathlib import Path

import pytest

from chromaflow.project.paths import Project
from tests.support.documented import COLORIZING, run_commands

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(7200)]


def test_the_commands_of_the_document_run(untrained: Project, examples: dict[str, Path]) -> None:
    assert run_commands(untrained, [COLORIZING], examples)
    assert len(list((untrained.root / "colorized").glob("*-color.jpg"))) == 20
    assert (untrained.root / "colorized" / "clip-color.mp4").is_file()
