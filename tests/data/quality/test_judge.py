from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from great_expectations import expectations as gxe

from chromaflow.data.quality.judge import Judge
from chromaflow.data.snapshot.validation import ExpectationResult


def low() -> tuple[str, Any]:
    return "low", gxe.ExpectColumnValuesToBeBetween(column="x", min_value=3)


def total() -> tuple[str, Any]:
    return "total", gxe.ExpectColumnSumToBeBetween(column="x", max_value=5)


def missing() -> tuple[str, Any]:
    return "missing", gxe.ExpectColumnValuesToNotBeNull(column="y")


def test_outcomes_tell_rows_and_columns() -> None:
    frame = pd.DataFrame({"x": [1.0, 5.0, 2.0, None], "y": ["a", None, "c", "d"]})
    asked = [low(), missing(), total()]
    few, none, whole = Judge().judge("table", frame, asked, pa.array(list("abcd")))
    assert few.result == ExpectationResult(name="low", column="x", success=False, unexpected=2)
    assert few.rows.tolist() == [0, 2]
    assert none.rows.tolist() == [1]
    assert whole.result == ExpectationResult(name="total", column="x", success=False, unexpected=1)


def test_the_index_links_every_page_and_replaces_older_ones(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "old.html").write_text("old")
    judge = Judge()
    ids = pa.array([f"image-{index}" for index in range(2)])
    judge.judge("table", pd.DataFrame({"x": [1.0, 5.0]}), [low()], ids)
    judge.judge("sums", pd.DataFrame({"x": [1.0]}), [total()])
    judge.write_docs(folder)
    assert not (folder / "old.html").exists()
    index = (folder / "index.html").read_text()
    pages = sorted((folder / "validations").rglob("*.html"))
    assert len(pages) == 2
    for page in pages:
        assert f'href="{page.relative_to(folder).as_posix()}"' in index
    assert index.count("<tr><td>") == 2
    assert "image-0" in pages[1].read_text()
