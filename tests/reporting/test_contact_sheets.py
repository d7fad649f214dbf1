import hashlib
import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from skimage import data

from chromaflow.data.quality.review import rows_of_rule
from chromaflow.data.snapshot.manifest import SCHEMA
from chromaflow.project.paths import Project
from chromaflow.reporting.contact_sheets import Entry, Sheets, write_overview
from chromaflow.settings import Settings
from tests.support.manifests import row


def write_shard(project: Project, name: str, members: dict[str, bytes]) -> None:
    path = project.raw / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for key, content in members.items():
            info = tarfile.TarInfo(key)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CAT, CUP = encoded(data.chelsea()), encoded(data.coffee())


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    members = {"cat.png": CAT, "cat.json": b"{}", "bad.jpg": b"no picture"}
    write_shard(project, "a/000000.tar", members)
    write_shard(project, "b/000000.tar", {"cup.png": CUP})
    write_shard(project, "../secret.tar", {"cat.png": CAT})
    return project


def test_figures_keep_their_order_and_show_what_there_is(checkout: Project, tmp_path: Path) -> None:
    sheets = Sheets(checkout, tmp_path / "out", 10**8)
    text = sheets.figures(
        [
            Entry("cup", "b/000000.tar", "cup", digest(CUP), ["<script>"]),
            Entry("cat", "a/000000.tar", "cat", digest(CAT), ["a cat"]),
            Entry("bad", "a/000000.tar", "bad", digest(b"no picture"), []),
            Entry("gone", "a/000000.tar", "gone", digest(CAT), []),
            Entry("away", "c/000000.tar", "away", digest(CAT), []),
            Entry("out", "../secret.tar", "cat", digest(CAT), []),
        ]
    )
    names = [text.index(f"<code>{name}</code>") for name in ("cup", "cat", "bad", "gone", "away")]
    assert names == sorted(names)
    assert text.count("<img") == 2
    assert text.count("no picture") == 4
    assert "<script>" not in text
    # In the order of the figures: the cup, then the cat.
    shown = [Image.open(tmp_path / "out" / path) for path in re.findall(r'src="([^"]+)"', text)]
    assert [max(picture.size) for picture in shown] == [160, 160]
    cup = np.asarray(Image.fromarray(data.coffee()).resize(shown[0].size), float)
    assert np.abs(np.asarray(shown[0], float) - cup).mean() < 10


def test_a_picture_that_is_too_large_is_not_opened(checkout: Project, tmp_path: Path) -> None:
    sheets = Sheets(checkout, tmp_path / "out", 1000)
    assert "no picture" in sheets.figures([Entry("cat", "a/000000.tar", "cat", digest(CAT), [])])


def test_the_overview_shows_splits_and_rules_and_needs_no_network(checkout: Project) -> None:
    places = {"shard": "a/000000.tar", "key": "cat", "sha256": digest(CAT)}
    accepted = pa.Table.from_pylist([row(1, label="cat", **places)], SCHEMA)
    accepted = accepted.append_column("split", pa.array(["test"]))
    refused = pa.Table.from_pylist([row(2), row(3)], SCHEMA)
    rules = [["min_chroma"], ["min_side", "min_chroma"]]
    refused = refused.append_column("rules", pa.array(rules))
    refused = refused.append_column("reasons", pa.array([["grey"], ["small", "grey"]]))
    assert rows_of_rule(refused, "min_chroma").tolist() == [0, 1]
    write_overview(checkout, Settings(), accepted, refused)
    first = (checkout.contact_sheets / "index.html").read_text()
    assert "Accepted: test" in first
    assert "Refused: min_chroma, 2 images" in first
    assert "Refused: min_side, 1 images" in first
    assert "small<br>grey" in first
    assert first.count("<img") == 1
    assert "http" not in first
    write_overview(checkout, Settings(), accepted, refused)
    assert (checkout.contact_sheets / "index.html").read_text() == first
