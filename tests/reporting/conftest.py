"""Fixtures of a checkout with a registry, and of one with a snapshot."""

from tests.support.description import (
    checkout,
    rows,
)
from tests.support.tracking import (
    empty_database,
    git,
    light_package,
    project,
    run_python,
    settings,
    write_candidate,
    write_evaluation,
)

__all__ = [
    "checkout",
    "empty_database",
    "git",
    "light_package",
    "project",
    "rows",
    "run_python",
    "settings",
    "write_candidate",
    "write_evaluation",
]
