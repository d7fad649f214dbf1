"""Progress and tables on a terminal; silence where there is none."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

Advance = Callable[[int], None]
"""Takes what was done since its last call."""
Progress = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Shows the progress of a work, by its description and total; None where that is not known."""


def console() -> Console:
    """The console for what people read: standard error, so that standard output stays for data."""
    return Console(stderr=True, highlight=False)


# The bar on the screen, if there is one: a block inside another adds its line to it.
_shown: list[Bar] = []


class _RateColumn(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s" if speed < 100 else f"{speed:.0f}/s")


@contextlib.contextmanager
def _bar(description: str, total: int | None, *columns: ProgressColumn) -> Iterator[Advance]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    if _shown:
        inner = _shown[-1].add_task(description, total=total)
        try:
            yield lambda count: _shown[-1].advance(inner, count)
        finally:
            _shown[-1].remove_task(inner)
        return
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    layout = (TextColumn("{task.description}"), BarColumn(), *columns, *times)
    with Bar(*layout, console=console(), transient=True) as bar:
        _shown.append(bar)
        try:
            task = bar.add_task(description, total=total)
            yield lambda count: bar.advance(task, count)
        finally:
            _shown.remove(bar)


def progress(description: str, total: int | None) -> AbstractContextManager[Advance]:
    """Show a bar with count, rate, elapsed and remaining time while the block runs.

    A bar inside another's block is a second line.

    Args:
        description: What is being done, such as "Preprocessing".
        total: How many units there are; None where nobody knows.

    Returns:
        A context that gives a function, which moves the bar by a number of units. On anything but
        a terminal it is silent.
    """
    return _bar(description, total, MofNCompleteColumn(), _RateColumn())


def transfer(description: str, total: int | None) -> AbstractContextManager[Advance]:
    """Show a bar of bytes with their rate, as `progress` does of units."""
    return _bar(description, total, DownloadColumn(), TransferSpeedColumn())
