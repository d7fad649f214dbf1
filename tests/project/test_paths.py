from pathlib import Path

import pytest

from chromaflow.errors import UserError
from chromaflow.project.paths import Project


def test_the_checkout_is_found_from_a_folder_inside_it(project: Project) -> None:
    inside = project.root / "a" / "b"
    inside.mkdir(parents=True)
    assert Project.find(inside) == project


def test_outside_a_checkout_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not in a chromaflow checkout[\s\S]*cd into your clone"):
        Project.find(tmp_path)
