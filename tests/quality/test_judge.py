import pandas as pd
import pyarrow as pa
from great_expectations import expectations as gxe

from chromaflow.quality.judge import Judge

LOW = ("low", gxe.ExpectColumnValuesToBeBetween(column="x", min_value=3))
MISSING = ("missing", gxe.ExpectColumnValuesToNotBeNull(column="y"))
SUM = ("sum", gxe.ExpectColumnSumToBeBetween(column="x", max_value=5))


def test_outcomes_tell_rows_and_columns() -> None:
    frame = pd.DataFrame({"x": [1.0, 5.0, 2.0, None], "y": ["a", None, "c", "d"]})
    low, missing, total = Judge().judge("table", frame, [LOW, MISSING, SUM], pa.array(list("abcd")))
    assert (low.name, low.column, low.success, low.unexpected) == ("low", "x", False, 2)
    assert low.rows.tolist() == [0, 2]
    assert missing.rows.tolist() == [1]
    assert (total.success, total.unexpected) == (False, 1)
    assert total.as_json() == {"name": "sum", "column": "x", "success": False, "unexpected": 1}


def test_the_index_links_every_page_and_replaces_older_ones(tmp_path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "old.html").write_text("old")
    judge = Judge()
    ids = pa.array([f"image-{index}" for index in range(2)])
    judge.judge("table", pd.DataFrame({"x": [1.0, 5.0]}), [LOW], ids)
    judge.judge("sums", pd.DataFrame({"x": [1.0]}), [SUM])
    judge.write_docs(folder)
    assert not (folder / "old.html").exists()
    index = (folder / "index.html").read_text()
    pages = sorted((folder / "validations").rglob("*.html"))
    assert len(pages) == 2
    for page in pages:
        assert f'href="{page.relative_to(folder).as_posix()}"' in index
    assert index.count("<tr><td>") == 2
    assert "image-0" in pages[1].read_text()
