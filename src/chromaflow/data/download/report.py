"""The outcome of every download, and its report to the user: a progress bar and a table."""

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from rich.table import Table
from rich.text import Text

from chromaflow import console

State = Literal["fetched", "resumed", "skipped", "failed"]
# Called with how many bytes of one file are there, and how many it has, or None.
OnBytes = Callable[[int, int | None], object]
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


@dataclass(frozen=True)
class Summary:
    """What came of the files of one call or of several, without naming them; summaries add up.

    Args:
        states: How many files ended in each state.
        reasons: How many files each reason stopped. Reasons that differ in a large number only,
            such as a size, count as one.
        received: Bytes that came over the network for the files that are there now.
        seconds: That the calls took.
    """

    states: Counter[State] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    received: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            self.states + other.states,
            self.reasons + other.reasons,
            self.received + other.received,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Report:
    """What came of all files of one call.

    Args:
        rows: One for each file.
        seconds: That the call took.
    """

    rows: Sequence[Outcome]
    seconds: float

    @cached_property
    def failed(self) -> dict[Path, str]:
        """Reasons of the files that failed, by path."""
        return {row.path: row.reason for row in self.rows if row.state == "failed"}

    @cached_property
    def summary(self) -> Summary:
        """The numbers of the closing table."""
        return Summary(
            Counter(row.state for row in self.rows),
            Counter(re.sub(r"\d[\d,]{3,}", "N", text) for text in self.failed.values()),
            sum(row.received for row in self.rows if row.state != "failed"),
            self.seconds,
        )


class FileBar(contextlib.ExitStack):
    """Progress of one file; a context. It shows once the server has reported the file's size.

    Args:
        description: What is shown.
        size: Bytes of the file as its source says, or None.
        progress: Opens what shows it.
    """

    def __init__(self, description: str, size: int | None, progress: console.Progress) -> None:
        super().__init__()
        self._description = description
        self._size = size
        self._progress = progress
        self._there = 0
        self._advance: Callable[[int], None] | None = None

    def __call__(self, there: int, size: int | None) -> None:
        """Show how many bytes are there; `size` is what the server says, or None."""
        if self._advance is None:
            shown = self._progress(self._description, self._size or size)
            self._advance = self.enter_context(shown)
        self._advance(there - self._there)
        self._there = there


def size_text(count: float) -> str:
    """A number of bytes as people read it: `812 B`, `3.4 MB`, `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def time_text(seconds: float) -> str:
    """A duration as people read it: `4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def show(summary: Summary, title: str = "Downloads") -> None:
    """Print the closing table on standard error: files by state, reasons, bytes, rates, time."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    reasons = sorted(summary.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    for state in get_args(State):
        table.add_row(state, f"{summary.states[state]:,}")
    for reason, count in reasons[:MOST_REASONS]:
        table.add_row(Text(f"  {reason}"), f"{count:,}", style="dim")
    if rest := sum(count for _, count in reasons[MOST_REASONS:]):
        table.add_row(f"  {len(reasons) - MOST_REASONS} other reasons", f"{rest:,}", style="dim")
    seconds = max(summary.seconds, 1e-3)
    arrived = summary.states["fetched"] + summary.states["resumed"]
    table.add_section()
    if arrived:
        table.add_row("received", size_text(summary.received))
        table.add_row("rate", f"{size_text(summary.received / seconds)}/s")
        table.add_row("", f"{arrived / seconds:,.1f} files/s")
    table.add_row("time", time_text(summary.seconds))
    console.console().print(table)
