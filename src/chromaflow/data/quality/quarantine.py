"""The rejected rows, each with all of its reasons."""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from chromaflow.data.quality.expectations import Rule
from chromaflow.data.quality.facts import Mask, Rows, column, tones


class Quarantine:
    """Which rows of the manifest were refused, by which rules and for which reasons.

    Args:
        table: The manifest.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._rules: list[str] = []
        self._rows: list[Rows] = []
        self._reasons: list[pa.Array] = []
        self.refused: Mask = np.zeros(len(table), np.bool_)

    def refuse(self, rule: str, rows: Rows, reasons: Sequence[str]) -> None:
        """Note that a rule refuses rows; it may be one of several."""
        if not len(rows):
            return
        self._rules.append(rule)
        self._rows.append(rows)
        self._reasons.append(pa.array(reasons, pa.string()))
        self.refused[rows] = True

    def refuse_failed(self, rule: Rule, rows: Rows, facts: pd.DataFrame) -> None:
        """Note the rows that failed a rule, with the reason filled from their facts."""
        if not len(rows):
            return
        fields = [name for _, name, _, _ in string.Formatter().parse(rule.reason) if name]
        values = [self._values(name, rows, facts) for name in fields]
        records = (dict(zip(fields, record, strict=True)) for record in zip(*values, strict=True))
        reasons = [rule.reason.format_map(record) for record in records] if fields else None
        self.refuse(rule.name, rows, reasons or [rule.reason] * len(rows))

    def _values(self, name: str, rows: Rows, facts: pd.DataFrame) -> list[Any]:
        if name == "tone":
            return tones(self._table, rows)
        if name == "copy_of":
            return self.names(facts["copy_of"].to_numpy()[rows].astype(np.int64))
        if name in facts:
            return list(facts[name].take(rows))
        taken = column(self._table, name).take(pa.array(rows))
        return list(taken.to_pylist())

    def names(self, rows: Rows) -> list[str]:
        """The ids of rows."""
        return list(column(self._table, "id").take(pa.array(rows)).to_pylist())

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each rule refused."""
        counts: dict[str, int] = {}
        for rule, rows in zip(self._rules, self._rows, strict=True):
            counts[rule] = counts.get(rule, 0) + len(rows)
        return counts

    def rejected(self) -> pa.Table:
        """The refused rows with the columns `reasons` and `rules`, lists of equal length."""
        rows = np.concatenate([np.empty(0, np.int64), *self._rows])
        order = np.argsort(rows, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(self.refused)))])
        offsets = pa.array(np.concatenate([starts[:-1][self.refused], [len(rows)]]), pa.int32())
        rules = pa.array(
            np.repeat(np.array(self._rules, object), [len(r) for r in self._rows]), pa.string()
        )
        reasons = pa.concat_arrays([pa.array([], pa.string()), *self._reasons])
        found = self._table.filter(pa.array(self.refused))
        for name, texts in (("reasons", reasons), ("rules", rules)):
            lists = pa.ListArray.from_arrays(offsets, texts.take(pa.array(order)))
            found = found.append_column(name, lists)
        return found
