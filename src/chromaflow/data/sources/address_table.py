"""Tables of addresses: CSV, TSV or Parquet, read row by row, whatever their length."""

import csv
import io
import itertools
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from chromaflow.errors import DataError

Row = dict[str, str]
_LONGEST_FIELD = 2**20


def open_table(
    path: Path, name: str, columns: Sequence[str], required: str, remedy: str
) -> Iterator[Row]:
    """The rows of a table on disk, with the columns that are asked for and there.

    Args:
        path: A file that ends in `.parquet`, `.csv` or `.tsv`.
        name: What names it in an error, such as the setting.
        columns: Those to read; what is not in the table, or null, is missing in the row.
        required: The column that must be there.
        remedy: The command that fixes it.

    Raises:
        DataError: It cannot be read, is broken, or lacks the required column.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet_rows(path, name, columns, required, remedy)
    if suffix not in {".csv", ".tsv"}:
        raise DataError(f"{name} does not end in .csv, .tsv or .parquet.", remedy)
    return text_rows(lambda: path.open("rb"), name, columns, required, remedy)


def text_rows(
    open_: Callable[[], AbstractContextManager[BinaryIO]],
    name: str,
    columns: Sequence[str],
    required: str,
    remedy: str,
) -> Iterator[Row]:
    """The rows of a CSV or TSV file; the first line shows which, and names the columns.

    Args:
        open_: Opens the file.
        name: As of `open_table`, as are the others.
        columns: As of `open_table`.
        required: As of `open_table`.
        remedy: As of `open_table`.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with open_() as file, io.TextIOWrapper(file, "utf-8-sig", "replace", newline="") as text:
            first = text.readline(_LONGEST_FIELD)
            rows = csv.reader(itertools.chain([first], text), delimiter=_delimiter(first))
            header = next(rows, [])
            places = {column: header.index(column) for column in columns if column in header}
            _check(required, header, name, remedy)
            for row in rows:
                yield {c: row[at] for c, at in places.items() if at < len(row) and row[at]}
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}.", remedy) from None
    except (csv.Error, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{name} is broken: {error}.", remedy) from None


def _delimiter(line: str) -> str:
    return "\t" if "\t" in line else ","


def _check(required: str, header: Sequence[str], name: str, remedy: str) -> None:
    if required not in header:
        there = ", ".join(header[:20])[:200]
        raise DataError(f"{name} has no column {required}; it has {there or 'none'}.", remedy)


def _parquet_rows(
    path: Path, name: str, columns: Sequence[str], required: str, remedy: str
) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            header = file.schema_arrow.names
            _check(required, header, name, remedy)
            there = [column for column in columns if column in header]
            for batch in file.iter_batches(batch_size=10_000, columns=there):
                for row in batch.to_pylist():
                    yield {c: str(value) for c, value in row.items() if value is not None}
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{name} cannot be read: {error}", remedy) from None
