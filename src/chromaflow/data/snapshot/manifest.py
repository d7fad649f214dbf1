"""The table of the raw snapshot: one row an image, the same rows the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chromaflow.errors import DataError
from chromaflow.project.files import atomic_file

NAME = "manifest.parquet"

# `error` says why an image does not decode; what was measured is null in such a row. `shard` is
# relative to data/raw, and the image is its member `<key>.<extension>`. `split_hint` is `train`,
# `validation` or `test` where the source assigns it, `historic` for what may never train or judge,
# else null.
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("label", pa.string()),
        ("license", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("decodes", pa.bool_()),
        ("mean_chroma", pa.float64()),
        ("chroma_spread", pa.float64()),
        ("mean_a", pa.float64()),
        ("mean_b", pa.float64()),
        ("luma_spread", pa.float64()),
        ("free_chroma", pa.float64()),
        ("phash", pa.string()),
        ("shard", pa.string()),
        ("key", pa.string()),
        ("error", pa.string()),
        ("split_hint", pa.string()),
    ]
)


def to_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table with the manifest's columns."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def write_manifest(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, atomically; its bytes depend on its rows alone."""
    with atomic_file(path) as file:
        pq.write_table(table.combine_chunks(), file, compression="zstd")


def read_manifest(path: Path) -> pa.Table:
    """Read a manifest; an empty table where there is none.

    Raises:
        DataError: The file is no manifest.
    """
    if not path.exists():
        return SCHEMA.empty_table()
    try:
        return pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is no manifest of chromaflow: {error}",
            f"rm {path}, then chromaflow ingest",
        ) from None
