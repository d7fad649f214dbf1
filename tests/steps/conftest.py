"""Fixtures of a checkout with a snapshot, of a held-out split, and of one with a registry."""

from tests.support.description import (
    checkout,
    rows,
)
from tests.support.evaluation import (
    split,
)
from tests.support.tracking import (
    candidate,
    empty_database,
    light_package,
    project,
    run_python,
    settings,
    write_candidate,
    write_evaluation,
)

__all__ = [
    "candidate",
    "checkout",
    "empty_database",
    "light_package",
    "project",
    "rows",
    "run_python",
    "settings",
    "split",
    "write_candidate",
    "write_evaluation",
]
