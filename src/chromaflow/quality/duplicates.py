"""Copies and near-duplicates, and the groups that never stand in two splits."""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BITS = 64


class Grouping(NamedTuple):
    """Which images belong together.

    `names` holds each row's group, 16 hexadecimal digits, or None for a row that is near two
    groups; `conflicts` tells for such a row the oldest rows of two of those groups.
    """

    names: list[str | None]
    conflicts: dict[int, tuple[int, int]]


def first_copies(digests: Sequence[str]) -> list[int]:
    """For each row the first row with the same digest: itself, or the row that it is a copy of."""
    first: dict[str, int] = {}
    return [first.setdefault(digest, row) for row, digest in enumerate(digests)]


def near_pairs(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.int64]:
    """All pairs of hashes that differ in few bits.

    The 64 bits are cut into `distance + 1` bands: two hashes that differ in at most `distance` bits
    agree in a whole band, by the pigeonhole principle. So only hashes that share a band are
    compared: for a distance of 4 and evenly spread hashes, one pair of 8192 in each band.

    Args:
        hashes: Distinct 64-bit hashes, (N,).
        distance: Largest number of different bits.

    Returns:
        Indices (P,2), the smaller one first, sorted.
    """
    found = [np.empty(0, np.int64)]
    edges = np.linspace(0, _BITS, distance + 2).astype(int)
    for low, high in itertools.pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64(2 ** int(high - low) - 1)
        order = np.argsort(band, kind="stable")
        band, sorted_hashes = band[order], hashes[order]
        active, step = np.arange(len(hashes)), 0
        # In sorted order equal bands lie side by side; whoever has no equal `step` further has none
        # at a greater step.
        while len(active):
            step += 1
            active = active[active + step < len(hashes)]
            active = active[band[active] == band[active + step]]
            bits = np.bitwise_count(sorted_hashes[active] ^ sorted_hashes[active + step])
            near = active[bits <= distance]
            one, other = order[near], order[near + step]
            found.append(np.minimum(one, other) * len(hashes) + np.maximum(one, other))
    pairs = np.unique(np.concatenate(found))
    return np.stack([pairs // max(len(hashes), 1), pairs % max(len(hashes), 1)], axis=1)


def _neighbors(pairs: NDArray[np.int64]) -> Mapping[int, list[int]]:
    neighbors: defaultdict[int, list[int]] = defaultdict(list)
    for one, other in pairs.tolist():
        neighbors[one].append(other)
        neighbors[other].append(one)
    return neighbors


def group_images(photographs: Sequence[str], hashes: Sequence[str], distance: int) -> Grouping:
    """Put near-duplicates, and parts of one photograph, into groups.

    The rows are taken one by one, from the oldest on. A row joins the group of the older rows that
    are near it or parts of its photograph; without any it founds a group, which is named after its
    photograph. A row that is near two groups joins neither, because each of them may already stand
    in a split of its own.

    So two laws hold. No two grouped rows that are near each other, or parts of one photograph, are
    in different groups. And rows added behind the others change no group: what the first n rows get
    does not depend on what follows. The limit: groups depend on the order of age, and on the older
    rows being there.

    Args:
        photographs: Which photograph a row shows, from the oldest row to the youngest.
        hashes: Perceptual hashes of the rows, 16 hexadecimal digits each.
        distance: Bits by which the hashes of near-duplicates differ at most.
    """
    numbers = np.array([int(text, 16) for text in hashes], np.uint64)
    distinct, values = np.unique(numbers, return_inverse=True)
    neighbors = _neighbors(near_pairs(distinct, distance))
    founder_of_value: dict[int, int] = {}
    founder_of_photograph: dict[str, int] = {}
    names: list[str | None] = []
    conflicts: dict[int, tuple[int, int]] = {}
    for row, (photograph, value) in enumerate(zip(photographs, values.tolist(), strict=True)):
        looks = (value, *neighbors[value]) if value in neighbors else (value,)
        founders = {founder_of_value[look] for look in looks if look in founder_of_value}
        if photograph in founder_of_photograph:
            founders.add(founder_of_photograph[photograph])
        if len(founders) > 1:
            first, second, *_ = sorted(founders)
            conflicts[row] = (first, second)
            names.append(None)
            continue
        founder = founders.pop() if founders else row
        founder_of_value[value] = founder
        founder_of_photograph[photograph] = founder
        name = photographs[founder]
        names.append(hashlib.sha256(name.encode()).hexdigest()[:16])
    return Grouping(names, conflicts)
