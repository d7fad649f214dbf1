import json
from pathlib import Path

from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.validate import validate
from tests.support.manifests import rows, write


def test_the_result_is_what_was_written_and_is_said_in_a_line(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write(project, rows(30))
    result = validate(project, Settings())
    assert result.to_json() == json.loads(project.validation_report.read_text())
    assert result.summary() == "data/validated: 30 accepted, 0 in quarantine"
    assert (project.contact_sheets / "index.html").is_file()
    small, unknown = rows(32)[30:]
    write(project, [*rows(30), {**small, "width": 60}, {**unknown, "width": 60, "license": None}])
    line = "data/validated: 30 accepted, 2 in quarantine (1 license, 2 min_side)"
    assert validate(project, Settings()).summary() == line
