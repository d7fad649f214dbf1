"""The groups of the accepted images, and what is kept out of a split because of near-duplicates."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from chromaflow.data.quality.duplicates import (
    Hashes,
    Likeness,
    codes_of,
    first_of,
    group_rows,
    likeness,
    name_groups,
    parse_hashes,
)
from chromaflow.data.quality.facts import Mask, Rows, age_order, column, equals, texts
from chromaflow.data.quality.quarantine import Quarantine
from chromaflow.data.quality.splits import hint_codes, hint_of_groups
from chromaflow.data.snapshot.manifest import HISTORIC, photographs_of
from chromaflow.errors import DataError
from chromaflow.project.splits import SPLITS
from chromaflow.settings import Settings


class Grouped(NamedTuple):
    """The rows of the manifest that nothing refused, from the oldest to the youngest.

    `rows` (N,) are their numbers in the manifest, `names` (N,) their groups, `hints` (N,) what the
    source assigns, `historic` (N,) whether they are historic, and `alike` says which look alike.
    """

    rows: Rows
    names: pa.Array
    hints: Rows
    historic: Mask
    alike: Likeness

    def only(self, mask: Mask) -> "Grouped":
        """Some of the rows."""
        return Grouped(
            self.rows[mask],
            self.names.filter(pa.array(mask)),
            self.hints[mask],
            self.historic[mask],
            _alike(self.alike, mask),
        )

    def column(self, length: int) -> pa.Array:
        """The group of each of the rows of the manifest; null for the others."""
        places = np.full(length, -1)
        places[self.rows] = np.arange(len(self.rows))
        return self.names.take(pa.array(places, mask=places < 0)).cast(pa.string())


def _alike(alike: Likeness, mask: Mask) -> Likeness:
    """The likeness of some of the rows: what only others show is no neighbor any more."""
    values = alike.values[mask]
    shown = np.zeros(alike.values.max(initial=-1) + 1, np.bool_)
    shown[values] = True
    return Likeness(values, alike.pairs[shown[alike.pairs].all(axis=1)])


def _hashes(table: pa.Table, rows: Rows) -> Hashes:
    try:
        return parse_hashes(column(table, "phash").take(pa.array(rows)))
    except ValueError as error:
        raise DataError(
            f"the column phash of the manifest is broken: {error}.",
            "rm data/raw/manifest.parquet, then chromaflow ingest",
        ) from None


def _near_historic(photographs: Rows, alike: Likeness, historic: Mask) -> Rows:
    """For each row a historic one that is near it or a part of its photograph, or -1, (N,)."""
    old = np.flatnonzero(historic)[::-1]
    of_value = np.full(alike.values.max(initial=-1) + 1, -1)
    of_value[alike.values[old]] = old
    near = of_value.copy()
    for one, other in (alike.pairs.T, alike.pairs.T[::-1]):
        np.maximum.at(near, one, of_value[other])
    of_photograph = np.full(photographs.max(initial=-1) + 1, -1)
    of_photograph[photographs[old]] = old
    found: Rows = np.maximum(near[alike.values], of_photograph[photographs])
    return found


def _against_hints(founders: Rows, hints: Rows) -> tuple[Rows, Rows]:
    """Rows that the source names for another split than some neighbor, and that neighbor."""
    grouped = np.flatnonzero(founders >= 0)
    strongest = hint_of_groups(founders[grouped], hints[grouped])[founders[grouped]]
    held = grouped[hints[grouped] == strongest][::-1]
    holder = np.full(founders.max(initial=-1) + 1, -1)
    holder[founders[held]] = held
    refused = grouped[(hints[grouped] >= 0) & (hints[grouped] != strongest)]
    return refused, holder[founders[refused]]


def _names(founders: Rows, historic: Mask, photographs: pa.Array, numbers: Rows) -> pa.Array:
    """The groups' names; a historic photograph is a group of its own, never another's."""
    names = name_groups(founders, photographs)
    if not historic.any():
        return names
    apart = pc.binary_join_element_wise(HISTORIC, photographs, "\n")
    own = name_groups(np.where(historic, first_of(numbers), -1), apart)
    texts = (encoded.cast(pa.string()) for encoded in (names, own))
    return pc.coalesce(*texts).dictionary_encode()


def group(table: pa.Table, quarantine: Quarantine, settings: Settings) -> Grouped:
    """Group the rows that nothing refused so far, and refuse what would stand in two places.

    That is an image near two groups; one near a historic photograph; and one that the source names
    for another split than a near-duplicate of it, where test and validation win over training.

    Raises:
        DataError: The manifest's hashes are broken.
    """
    distance = settings.quality.duplicate_distance
    order = age_order(table)
    rows = order[~quarantine.refused[order]]
    historic = equals(table, "split_hint", HISTORIC)[rows]
    photographs = photographs_of(column(table, "url")).take(pa.array(rows))
    numbers, hashes = codes_of(photographs), _hashes(table, rows)
    hints = hint_codes(texts(table, "split_hint").take(pa.array(rows)))
    alike = likeness(hashes, distance)
    young = np.flatnonzero(~historic)
    founders = np.full(len(rows), -1)
    found, conflicts = group_rows(numbers[young], hashes[young], _alike(alike, ~historic), distance)
    founders[young] = np.where(found < 0, -1, young[found])
    refusals = Refusals(quarantine, rows)
    pairs = np.array(list(conflicts.values()), np.int64).reshape(-1, 2)
    refusals.near_two_groups(young[list(conflicts)], young[pairs])
    witness = np.where(historic, -1, _near_historic(numbers, alike, historic))
    refusals.near_historic(np.flatnonzero(witness >= 0), witness)
    if settings.split.hints:
        left = np.where(witness < 0, founders, -1)
        refusals.against_hints(*_against_hints(left, hints), hints)
    names = _names(founders, historic, photographs, numbers)
    return Grouped(rows, names, hints, historic, alike).only(~quarantine.refused[rows])


class Refusals(NamedTuple):
    """Refuses rows because of their neighbors, both given by their place in the order of age."""

    quarantine: Quarantine
    rows: Rows

    def _ids(self, places: NDArray[np.int64]) -> list[str]:
        return self.quarantine.names(self.rows[places])

    def near_two_groups(self, refused: Rows, oldest: Rows) -> None:
        """Refuse what is near two groups, of which the oldest rows are given, (N,2)."""
        pairs = zip(self._ids(oldest[:, 0]), self._ids(oldest[:, 1]), strict=True)
        reasons = [f"near {a} and {b}, which belong to different groups" for a, b in pairs]
        self.quarantine.refuse("near_two_groups", self.rows[refused], reasons)

    def near_historic(self, refused: Rows, witness: Rows) -> None:
        """Refuse what is near a historic photograph."""
        reasons = [f"near the historic photograph {a}" for a in self._ids(witness[refused])]
        self.quarantine.refuse("near_historic", self.rows[refused], reasons)

    def against_hints(self, refused: Rows, holders: Rows, hints: Rows) -> None:
        """Refuse what the source names for another split than a near-duplicate."""
        reasons = [
            f"for {SPLITS[own]} by its source, but near {a}, which is for {SPLITS[other]}"
            for own, other, a in zip(
                hints[refused].tolist(), hints[holders].tolist(), self._ids(holders), strict=True
            )
        ]
        self.quarantine.refuse("split_hint", self.rows[refused], reasons)


def _range(codes: Rows, places: Rows) -> tuple[Rows, Rows]:
    """The least and the largest place of the rows that share a number."""
    least = np.full(codes.max(initial=-1) + 1, places.max(initial=0))
    most = np.zeros(len(least), np.int64)
    np.minimum.at(least, codes, places)
    np.maximum.at(most, codes, places)
    return least, most


def separation(contents: Rows, grouped: Grouped, places: Rows) -> pd.DataFrame:
    """What shows a leak between splits, one row an image that is in one of them or historic.

    Args:
        contents: A number for the bytes of each row of the manifest.
        grouped: What is in some place.
        places: A number for the place of each of those rows, (N,).

    Returns:
        `sha256` and `group` (numbers, equal where the texts are), `splits` (1, or 2 where the group
        stands in several places), `apart` (1 where a near-duplicate stands in another place).
    """
    groups, values = codes_of(grouped.names), grouped.alike.values
    first, last = _range(values, places)
    one, other = grouped.alike.pairs.T
    mixed = first != last
    mixed[one] |= (first[one] != first[other]) | (last[one] != last[other])
    least, most = _range(groups, places)
    return pd.DataFrame(
        {
            "sha256": contents[grouped.rows],
            "group": groups,
            "splits": 1 + (least != most)[groups],
            "apart": mixed[values].astype(np.int64),
        }
    )
