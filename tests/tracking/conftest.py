"""Fixtures of a checkout with a registry."""

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
    "empty_database",
    "git",
    "light_package",
    "project",
    "run_python",
    "settings",
    "write_candidate",
    "write_evaluation",
]
