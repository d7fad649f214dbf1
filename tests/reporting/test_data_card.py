import re
from collections.abc import Mapping
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chromaflow.data.snapshot.read import read_snapshot
from chromaflow.data.snapshot.samples import samples
from chromaflow.project.files import digest_of_folder
from chromaflow.project.paths import Project
from chromaflow.reporting import charts
from chromaflow.reporting.data_card import escape_markdown, gather, write_card
from tests.support.description import Tables, write_tables

HOSTILE = "<img src=x onerror=alert(1)>|`a`\n[b](javascript:c) **d**"


class Page(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, text: str) -> None:
        self.texts.append(text)


def card(checkout: Project, links: Mapping[str, str] | None = None) -> tuple[str, str]:
    snapshot = read_snapshot(checkout)
    folder = checkout.data_description
    write_card(snapshot, samples(snapshot, 2), folder, dict(links or {}))
    return (folder / "card.html").read_text(), (folder / "card.md").read_text()


def test_the_page_and_the_markdown_tell_the_same_counts(checkout: Project) -> None:
    page, text = card(checkout, {"contact sheets": "../contact-sheets/index.html"})
    snapshot = read_snapshot(checkout)
    shown = "".join(Page(page).texts)
    for form in (shown, text):
        assert snapshot.digest in form
        assert snapshot.raw_md5 in form
        assert "5 accepted images" in form
        assert "2 of 7 images" in form
        assert "van der Walt" in form
        assert f"git log --format=%h -S {snapshot.raw_md5}" in form
    assert "| train | 3 | 1 |" in text
    assert "| CC0 (somebody) | 3 |" in text
    assert 'href="../contact-sheets/index.html"' in page
    assert "does not decode: it is &lt;no&gt; picture" in page


def test_the_page_needs_no_other_file(checkout: Project) -> None:
    page, text = card(checkout)
    found = Page(page)
    assert not [tag for tag, _ in found.tags if tag in ("script", "link", "iframe", "object")]
    sources = [attributes["src"] or "" for _, attributes in found.tags if "src" in attributes]
    assert len(sources) == 4
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "url(" not in page
    pictures = re.findall(r"\]\((samples/[^)]+)\)", text)
    assert len(pictures) == 4
    assert all((checkout.data_description / name).is_file() for name in pictures)


def test_what_a_source_says_is_text_and_nothing_else(checkout: Project, rows: Tables) -> None:
    accepted, refused = rows
    written = [{**row, "label": HOSTILE, "license": HOSTILE, "source": HOSTILE} for row in accepted]
    write_tables(checkout, written, [{**row, "url": HOSTILE} for row in refused])
    page, text = card(checkout)
    found = Page(page)
    assert not [tag for tag, attributes in found.tags if "onerror" in attributes]
    assert [tag for tag, _ in found.tags].count("img") == 4
    assert HOSTILE in "".join(found.texts)
    assert "<img" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)


def test_images_that_stand_apart_are_counted(checkout: Project) -> None:
    table = pq.read_table(checkout.validated / "manifest.parquet").drop_columns(["split"])
    pq.write_table(table.slice(0, 2), checkout.validated / "unused.parquet")
    for form in card(checkout):
        assert "2 acceptable images that the sizes of the splits leave out" in form


def test_equal_snapshots_give_equal_bytes(checkout: Project) -> None:
    card(checkout)
    before = digest_of_folder(checkout.data_description)
    card(checkout)
    assert digest_of_folder(checkout.data_description) == before


def test_a_folder_without_labels_or_record(checkout: Project, rows: Tables) -> None:
    accepted, _ = rows
    written = [{**row, "label": None, "license": None, "source": "folder"} for row in accepted]
    write_tables(checkout, written, [])
    checkout.raw_record.unlink()
    page, text = card(checkout)
    for form in ("".join(Page(page).texts), text):
        assert "not recorded" in form
        assert "unknown" in form
    assert "no label" in text


def test_bars_are_as_long_as_their_counts() -> None:
    drawn = str(charts.bars([("a", {"train": 30, "test": 10}), ("b" * 60, {"validation": 10})]))
    widths = {
        name: float(width)
        for name, width in re.findall(r'class="(\w+)".*?width="([\d.]+)"', drawn)
        if float(width)
    }
    assert widths["train"] == pytest.approx(3 * widths["test"], abs=0.2)
    assert "b" * 60 not in drawn


def test_a_histogram_holds_every_image() -> None:
    snapshot_counts = [3, 0, 5], [1, 2, 0]
    drawn = str(charts.histogram([0, 1, 2, 3], *snapshot_counts))
    heights = [float(height) for height in re.findall(r'<rect .*?height="([\d.]+)"', drawn)]
    order = np.array(snapshot_counts).T.ravel()
    assert np.allclose(heights, order / 5 * max(heights), atol=0.06)


def test_chroma_and_sides_are_summed_up(checkout: Project) -> None:
    facts = gather(read_snapshot(checkout))
    assert facts["chroma"] == {"low": 12.5, "median": 14.5, "high": 16.5}
    assert facts["sides"] == {"low": 100, "median": 100, "high": 300}
    assert facts["labels"] == [("cat", {"train": 3}), ("coffee", {"validation": 1, "test": 1})]


@given(st.text())
def test_markdown_shows_any_text_on_one_line(text: str) -> None:
    escaped = escape_markdown(text)
    assert not re.search(r"[<>\n\r]", escaped)
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*\[\]]", escaped)
