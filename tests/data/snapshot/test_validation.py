import json
from pathlib import Path

import pytest

from chromaflow.data.snapshot.validation import ValidationReport
from chromaflow.errors import DataError
from tests.support.manifests import report


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "validation.json"
    rule = {"name": "min_side", "column": "shorter_side", "success": False, "unexpected": 2}
    content = report(releases={"held": 1, "void": 2}, expectations=[rule])
    path.write_text(json.dumps(content))
    found = ValidationReport.read(path)
    assert found.to_json() == content
    assert (found.waivers.held, found.expectations[0].column) == (1, "shorter_side")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "JSON"),
        ("[]", "object"),
        (json.dumps({**report(), "rows": "many"}), "rows"),
        (json.dumps({**report(), "splits": None}), "splits"),
        (json.dumps(report(other=1)), "other"),
    ],
    ids=["empty", "list", "text for a number", "splits of nothing", "unknown"],
)
def test_a_broken_report_is_named_with_its_remedy(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "validation.json"
    path.write_text(text)
    with pytest.raises(DataError, match=reason) as caught:
        ValidationReport.read(path)
    assert str(path) in caught.value.problem
    assert caught.value.remedy == "chromaflow validate"


def test_a_missing_report_is_named_with_its_remedy(tmp_path: Path) -> None:
    for path in (tmp_path / "validation.json", tmp_path):
        with pytest.raises(DataError, match=str(path)) as caught:
            ValidationReport.read(path)
        assert caught.value.remedy == "chromaflow validate"
