"""What came of every file that was to be fetched, and the table that tells it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.table import Table

from chromaflow.console import console

State = Literal["fetched", "resumed", "skipped", "failed"]
MOST_REASONS = 10


class RefusedError(Exception):
    """One file cannot be had, and asking again would not change that."""


class PassingError(Exception):
    """One file did not arrive, for a reason that may pass by itself.

    Args:
        reason: What happened.
        wait: Seconds that the server asks to wait before the next request; 0 where it does not.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file.

    Args:
        path: Where it lies, or would lie.
        state: `fetched` from its first byte, `resumed` from what an earlier attempt left,
            `skipped` because it was there, or `failed`; a failed one leaves no file.
        reason: Why it failed; empty otherwise.
        received: Bytes that came over the network, in the last attempt.
        passing: Whether a later run may succeed where this one failed.
    """

    path: Path
    state: State
    reason: str = ""
    received: int = 0
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all files of one call.

    Args:
        rows: One for each file.
        seconds: That the call took.
    """

    rows: Sequence[Outcome]
    seconds: float
    _failed: dict[Path, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        failed = {item.path: item.reason for item in self.rows if item.state == "failed"}
        object.__setattr__(self, "_failed", failed)

    def __add__(self, other: "Report") -> "Report":
        return Report([*self.rows, *other.rows], self.seconds + other.seconds)

    @property
    def failed(self) -> dict[Path, str]:
        """Reasons of the files that failed, by path."""
        return self._failed

    @property
    def received(self) -> int:
        """Bytes that came over the network for the files that are there now."""
        return sum(item.received for item in self.rows if item.state != "failed")

    def count(self, state: State) -> int:
        """How many files ended in a state."""
        return sum(item.state == state for item in self.rows)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Reasons of failures with how many files each stopped, the most frequent first.

        Reasons that differ in a large number only, such as a size, count as one.
        """
        counts = Counter(re.sub(r"\d[\d,]{3,}", "N", text) for text in self._failed.values())
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def size_text(count: float) -> str:
    """A number of bytes as people read it: `812 B`, `3.4 MB`, `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def show(report: Report) -> None:
    """Print the closing table on standard error: files by state, bytes, rate, reasons."""
    table = Table(title="Downloads", title_justify="left")
    table.add_column("files")
    table.add_column("", justify="right")
    for state in ("fetched", "resumed", "skipped", "failed"):
        if state != "resumed" or report.count("resumed"):
            table.add_row(state, str(report.count(state)))
    reasons = report.reasons
    for reason, count in reasons[:MOST_REASONS]:
        table.add_row(f"  {reason}", str(count), style="dim")
    if rest := sum(count for _, count in reasons[MOST_REASONS:]):
        table.add_row(f"  {len(reasons) - MOST_REASONS} other reasons", str(rest), style="dim")
    seconds = max(report.seconds, 1e-3)
    arrived = report.count("fetched") + report.count("resumed")
    table.add_section()
    table.add_row("received", size_text(report.received))
    table.add_row("time", f"{report.seconds:.1f} s")
    table.add_row("rate", f"{size_text(report.received / seconds)}/s")
    table.add_row("", f"{arrived / seconds:.0f} files/s")
    console().print(table, markup=False)
