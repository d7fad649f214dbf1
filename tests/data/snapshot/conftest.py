"""Fixtures of a checkout with a snapshot."""

from tests.support.description import (
    checkout,
    rows,
)

__all__ = ["checkout", "rows"]
