"""The rows that may not train, each with all of its reasons."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from chromaflow.quality.expectations import Outcome, Rule


@dataclass
class Quarantine:
    """Which rows were refused, by id, and how often each rule refused one."""

    reasons: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)

    def refuse(self, image: str, rule: str, reason: str) -> None:
        """Note that a rule refuses an image; it may be one of several."""
        self.reasons[image].append(reason)
        self.counts[rule] += 1

    def refuse_failed(
        self, table: pd.DataFrame, rules: Sequence[Rule], outcomes: Mapping[str, Outcome]
    ) -> None:
        """Note every row that failed a rule, with the reason filled from its columns."""
        for rule in rules:
            failed = table[table["id"].isin(outcomes[rule.name].ids)]
            rows: list[dict[str, Any]] = failed.to_dict("records")  # type: ignore[assignment]
            for row in rows:
                self.refuse(row["id"], rule.name, rule.reason.format_map(row))
