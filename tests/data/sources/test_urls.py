import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chromaflow.data.sources.base import Source, open_source
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings

ROWS = [
    {"url": "https://a.example/1.JPG", "label": "cat", "license": "CC0", "size": "12"},
    {"url": "https://a.example/2.png?x=1", "sha256": "AB" * 32, "split": "Test"},
    {"url": "http://b.example/3", "label": "dög", "split": "elsewhere", "size": "many"},
]


def open_(checkout: Project, table: Path | str, **source: object) -> Source:
    values = {"name": "urls", "table": str(table), **source}
    return open_source("urls", checkout, Settings.model_validate({"source": values}))


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    columns = ["url", "label", "license", "sha256", "size", "split", "note"]
    if path.suffix == ".parquet":
        sizes = [row.get("size", "") for row in rows]
        made = [
            {**{c: row.get(c) for c in columns}, "size": int(size) if size.isdigit() else None}
            for row, size in zip(rows, sizes, strict=True)
        ]
        pq.write_table(pa.Table.from_pylist(made), path)
        return path
    mark = "\t" if path.suffix == ".tsv" else ","
    lines = [mark.join(columns)]
    lines += [mark.join('"' + row.get(c, "") + '"' for c in columns) for row in rows]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_rows_of_every_kind_of_table(checkout: Project, tmp_path: Path, suffix: str) -> None:
    source = open_(checkout, write(tmp_path / f"a{suffix}", ROWS), license="mine")
    one, two, three = source.records()
    assert (one.url, one.label, one.license, one.extension, one.size) == (
        *("https://a.example/1.JPG", "cat", "CC0", ".jpg"),
        12,
    )
    assert (two.checksum, two.split, two.extension) == ("sha256:" + "ab" * 32, "test", ".png")
    assert (three.label, three.license, three.split, three.extension) == ("dög", "mine", "", ".jpg")
    assert three.size is None
    assert two.download is not None
    assert two.download.checksum == two.checksum
    assert two.download.path.is_relative_to(checkout.state / "downloads" / "urls" / "images")


def test_repeated_and_unusable_rows_are_counted(checkout: Project, tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[0], {"url": ROWS[1]["url"] + "#top"}, {"url": ""}, {"url": "no address"}]
    source = open_(checkout, write(tmp_path / "a.csv", rows))
    assert (source.total, source.skipped) == (3, 4)
    assert [record.url for record in source.records()] == [row["url"] for row in ROWS]


def test_a_draw_keeps_the_order_of_the_table(checkout: Project, tmp_path: Path) -> None:
    rows = [{"url": f"https://a.example/{number % 70}.jpg"} for number in range(100)]
    path = write(tmp_path / "a.csv", rows)
    everything = [record.url for record in open_(checkout, path).records()]
    drawn = [record.url for record in open_(checkout, path, images=20).records()]
    assert len(everything) == 70
    assert len(drawn) == 20
    assert drawn == [url for url in everything if url in drawn]
    assert set(drawn) < {record.url for record in open_(checkout, path, images=30).records()}


def test_a_long_table_is_not_held_in_memory(checkout: Project, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.csv"
        with path.open("w") as file:
            file.write("url\n")
            file.writelines(
                f"https://a.example/{n % (count // 2):090d}.jpg\n" for n in range(count)
            )
        tracemalloc.start()
        source = open_(checkout, path)
        assert sum(1 for _ in source.records()) == source.total == source.skipped == count // 2
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(2_000), peak(12_000)
    assert many - few < 80 * 10_000  # bytes a row: less than an address alone


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("", b"", "names no table"),
        ("a.csv", None, "cannot be read"),
        ("a.xlsx", b"x", "does not end in"),
        ("a.csv", b"", "no column url"),
        ("a.csv", b"address\nhttps://a/b.jpg\n", "no column url; it has address"),
        ("a.csv", b"url\n\n\n", "holds no address"),
        ("a.csv", b"url\n" + b"x" * 2**21, "is broken"),
        ("a.parquet", b"PAR1 not at all", "cannot be read"),
    ],
)
def test_tables_that_cannot_be_used_are_named(
    checkout: Project, tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    path = tmp_path / name
    if name and content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        open_(checkout, path if name else "")
    assert "source.table=FILE" in caught.value.remedy


def test_bytes_that_are_no_text_harm_one_row(checkout: Project, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfurl,label\nhttps://a/1.jpg,caf\xe9\nhttps://a/2.jpg,x\x00y\n")
    assert [record.label for record in open_(checkout, path).records()] == ["caf�", "x\0y"]
