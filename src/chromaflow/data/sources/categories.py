"""The categories that the settings choose."""

import difflib
from collections.abc import Collection, Sequence

from chromaflow.errors import DataError


def choose(wanted: Sequence[str], known: Collection[str], place: str) -> set[str]:
    """The categories to take: the wanted ones, or all where none is wanted.

    Args:
        wanted: As `source.categories`.
        known: Those that there are.
        place: What holds them, for the error.

    Raises:
        DataError: One of them is not known; near names are offered.
    """
    for category in wanted:
        if category not in known:
            raise unknown(category, known, place)
    return set(wanted) or set(known)


def unknown(category: str, known: Collection[str], place: str) -> DataError:
    """The error for a category that is not there, with near names."""
    names = sorted(known)
    near = difflib.get_close_matches(category, names, n=3) or names[:8] or ["nothing"]
    return DataError(
        f"source.categories: {place} holds no {category}; did you mean {', '.join(near)}?",
        f"chromaflow ingest --set 'source.categories=[{near[0]}]'",
    )
