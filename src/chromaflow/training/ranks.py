"""Which process of a distributed training this is."""

import os


def is_first_rank() -> bool:
    """Whether this process leads its training; the others log and lock nothing."""
    return (os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0") == "0"
