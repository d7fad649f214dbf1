"""Fixtures of a checkout with a snapshot, and of a held-out split."""

from tests.support.description import (
    checkout,
    rows,
)
from tests.support.evaluation import (
    split,
)

__all__ = ["checkout", "rows", "split"]
