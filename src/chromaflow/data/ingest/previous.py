"""The images that the snapshot holds, found by their urls without a Python object for each."""

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from chromaflow.data.ingest.inspect import Inspection
from chromaflow.data.snapshot.manifest import to_table
from chromaflow.data.sources.base import Record, image_id

_MEASURES = [name for name in Inspection._fields if name not in ("decodes", "error")]


def described(record: Record) -> dict[str, str | None]:
    """What a row takes over from its record, whatever the bytes are."""
    return {
        "label": record.label,
        "license": record.license or None,
        "split_hint": record.split or None,
    }


class PreviousSnapshot:
    """Rows of one source whose shards are there, and which of them still hold.

    Args:
        source: Name of the source.
        table: The rows.
        max_pixels: As `source.max_pixels`.
    """

    def __init__(self, source: str, table: pa.Table, max_pixels: int) -> None:
        self._source = source
        self._table = table.combine_chunks()
        self._max_pixels = max_pixels
        # A row that a killed ingest renewed stands behind the one that it renews.
        numbers = (int(text.as_py(), 16) for text in self._table["id"])
        ids = np.fromiter(numbers, np.uint64, len(self._table))
        self._order = np.argsort(ids, kind="stable")
        self._ids: NDArray[np.uint64] = ids[self._order]
        lacking = [pc.is_null(self._table[name]) for name in _MEASURES]
        self._lacking = np.logical_or.reduce([np.asarray(column) for column in lacking])
        self._kept = array("q")
        self._amended: list[Mapping[str, Any]] = []

    def find(self, record: Record) -> int:
        """The row of a record, or -1."""
        wanted = np.uint64(int(image_id(self._source, record.url), 16))
        place = int(np.searchsorted(self._ids, wanted, side="right")) - 1
        return int(self._order[place]) if place >= 0 and self._ids[place] == wanted else -1

    def cell(self, index: int, column: str) -> Any:
        """One value of a row."""
        return self._table[column][index].as_py()

    def holds(self, index: int, record: Record) -> bool:
        """Whether the snapshot has the bytes of a remote image, so that it need not be fetched.

        It must be fetched where an earlier ingest could not, and where the source gives another
        checksum.
        """
        if index < 0 or not record.is_remote or self.cell(index, "bytes") == 0:
            return False
        if record.checksum.startswith("sha256:"):
            digest = record.checksum.removeprefix("sha256:")
            return bool(self.cell(index, "sha256") == digest)
        return True

    def is_measured(self, index: int) -> bool:
        """Whether the measurement of a row would be the same today.

        It may be another one where the image did not decode, where the ingest that wrote the row
        did not measure all that is measured now, and where `source.max_pixels` allows less.
        """
        if self._lacking[index]:
            return False
        pixels = self.cell(index, "width") * self.cell(index, "height")
        return bool(pixels <= self._max_pixels)

    def keep(self, index: int, record: Record, measured: Mapping[str, Any] | None = None) -> None:
        """Take a row over, with what its record and a new measurement say now."""
        new = {**described(record), **(measured or {})}
        if all(self.cell(index, name) == value for name, value in new.items()):
            self._kept.append(index)
        else:
            self._amended.append({**self._table.slice(index, 1).to_pylist()[0], **new})

    def kept_rows(self) -> pa.Table:
        """The rows that were kept."""
        kept = self._table.take(pa.array(np.array(self._kept, np.int64)))
        return pa.concat_tables([kept, to_table(self._amended)])
