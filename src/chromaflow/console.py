"""Progress and tables on a terminal; silence where there is none."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int], None]


def console() -> Console:
    """The console for what people read: standard error, so that standard output stays for data."""
    return Console(stderr=True, highlight=False)


@contextlib.contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """Show a bar with count, elapsed and remaining time while the block runs.

    Args:
        description: What is being done, such as "Preprocessing".
        total: How many units there are; None where nobody knows.

    Yields:
        A function that moves the bar by a number of units. On anything but a terminal it is
        silent.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console(), transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)
