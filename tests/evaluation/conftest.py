"""The fixture of a held-out split."""

from tests.support.evaluation import (
    split,
)

__all__ = ["split"]
