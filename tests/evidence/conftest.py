"""Fixtures of a checkout with a registry."""

from tests.support.tracking import (
    candidate,
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
    "candidate",
    "empty_database",
    "git",
    "light_package",
    "project",
    "run_python",
    "settings",
    "write_candidate",
    "write_evaluation",
]
