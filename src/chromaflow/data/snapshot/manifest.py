"""The tables of the snapshot: the only place that names their columns and types.

The raw manifest has one row an image. The validation gives each row to one of the tables in
`data/validated`, which have the same columns and some of their own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chromaflow.errors import DataError
from chromaflow.project.files import atomic_file

HISTORIC = "historic"
"""The `split_hint` of photographs that are colored, and never used for training or evaluation."""

REPEATED = ("source", "label", "license", "shard", "error", "split_hint")
"""Columns of few texts in many rows, which take little memory as dictionaries."""


class Column(NamedTuple):
    """A column: its name, its type, and what it holds in words, where that is not its name."""

    name: str
    type: pa.DataType
    meaning: str = ""


_RAW = (
    Column(
        "id",
        pa.string(),
        "64 bits of the SHA-256 of source and url: where the image is, not what it holds",
    ),
    Column("source", pa.string(), "the collection it comes from"),
    Column(
        "url",
        pa.string(),
        "where it comes from; images whose urls agree up to # are parts of one photograph",
    ),
    Column("label", pa.string(), "its category, or empty"),
    Column("license", pa.string(), "under which terms it may be used, as far as known"),
    Column("sha256", pa.string(), "of its bytes, hexadecimal"),
    Column("bytes", pa.int64(), "size of its file"),
    Column("width", pa.int32(), "pixels"),
    Column("height", pa.int32(), "pixels"),
    Column("decodes", pa.bool_(), "whether it is a picture"),
    # What was measured is null where the image does not decode.
    Column("mean_chroma", pa.float64(), "mean distance from grey, CIE Lab units"),
    Column("chroma_spread", pa.float64(), "standard deviation of chroma, CIE Lab units"),
    Column("mean_a", pa.float64(), "mean of a*, CIE Lab units"),
    Column("mean_b", pa.float64(), "mean of b*, CIE Lab units"),
    Column("luma_spread", pa.float64(), "standard deviation of L*, 0 to 100"),
    Column(
        "free_chroma",
        pa.float64(),
        "distance of colors from the mean color of their lightness, CIE Lab units",
    ),
    Column("phash", pa.string(), "perceptual hash, 64 bits, hexadecimal"),
    # The image is its member `<key>.<extension>`.
    Column("shard", pa.string(), "the tar archive that holds it, relative to data/raw"),
    Column("key", pa.string(), "its name in the archive, without extension"),
    Column("error", pa.string(), "why it cannot be decoded"),
    # `train`, `validation`, `test`, `historic`, or null.
    Column("split_hint", pa.string(), "the split that the source defines, if any"),
)
_GROUP = Column(
    "group",
    pa.string(),
    "images that are near-duplicates or parts of one photograph share it",
)
_SPLIT = Column("split", pa.string(), "train, validation or test")
_REASONS = Column("reasons", pa.list_(pa.string()), "why it was rejected")
_RULES = Column("rules", pa.list_(pa.string()))

MEANINGS = {column.name: column.meaning for column in (*_RAW, _GROUP, _SPLIT, _REASONS, _RULES)}
"""What each column holds, in words; empty where none is given."""


def _schema(*own: Column) -> pa.Schema:
    return pa.schema([(column.name, column.type) for column in (*_RAW, *own)])


SCHEMA = _schema()
"""The columns of the raw manifest."""


class Kind(NamedTuple):
    """A kind of table in `data/validated`: its file, its columns, and its rows in words."""

    file: str
    schema: pa.Schema
    meaning: str


KINDS = {
    "images": Kind(
        "manifest.parquet", _schema(_GROUP, _SPLIT), "the accepted images, one row each"
    ),
    "quarantine": Kind(
        "quarantine.parquet",
        _schema(_REASONS, _RULES),
        "the refused images, each with its reasons",
    ),
    "historic": Kind(
        "historic.parquet",
        _schema(_GROUP),
        "grey photographs to color, never used for training or evaluation",
    ),
    "unused": Kind(
        "unused.parquet",
        _schema(_GROUP),
        "acceptable images that the sizes of the splits leave out",
    ),
}
"""The tables in `data/validated`."""


def to_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table with the columns of the raw manifest."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def write_manifest(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, atomically; its bytes depend on its rows alone."""
    with atomic_file(path) as file:
        pq.write_table(table.combine_chunks(), file, compression="zstd")


def read_manifest(path: Path) -> pa.Table:
    """Read a raw manifest for the next ingest; an empty table where there is none.

    Columns that an older ingest did not write are null.

    Raises:
        DataError: The file is not a manifest.
    """
    if not path.exists():
        return SCHEMA.empty_table()
    try:
        return pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is not a manifest of chromaflow: {error}", _ingest_again(path)
        ) from None


def read_raw(path: Path) -> pa.Table:
    """Read a whole raw manifest, its repeated texts as dictionaries.

    Raises:
        DataError: It is missing, broken, or lacks a column.
    """
    remedies = ("chromaflow ingest", _ingest_again(path))
    return _read(path, SCHEMA.names, remedies, REPEATED)


def read_validated(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read columns of a table in `data/validated`.

    Raises:
        DataError: It is missing, broken, or lacks a column.
    """
    return _read(path, columns, ("chromaflow validate", "chromaflow validate"))


def _ingest_again(path: Path) -> str:
    return f"rm {path}, then chromaflow ingest"


def _read(
    path: Path, columns: Sequence[str], remedies: tuple[str, str], repeated: Sequence[str] = ()
) -> pa.Table:
    """Columns of a table; of the remedies, the first is for a missing and the other for a bad one.

    Raises:
        DataError: It is missing, broken, or lacks a column.
    """
    missing, broken = remedies
    try:
        if absent := set(columns) - set(pq.read_schema(path).names):
            raise DataError(f"{path} lacks the columns {', '.join(sorted(absent))}.", broken)
        return pq.read_table(path, columns=list(columns), read_dictionary=list(repeated))
    except FileNotFoundError:
        raise DataError(f"there is no {path}.", missing) from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}", broken) from None


def photographs_of(urls: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The photograph that each image is a part of: its url up to the first `#`.

    What follows is the place of a tile in its photograph.

    Args:
        urls: Texts, (N,); null stays null.
    """
    if pc.any(pc.match_substring(urls, "#")).as_py():
        return pc.replace_substring_regex(urls, "(?s)#.*", "")
    return urls
