"""Copies and near-duplicates, and the groups that must stay within one split."""

import binascii
import hashlib
import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array, csgraph

_BITS = 64
Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]


class Likeness(NamedTuple):
    """Which rows look alike.

    `values` (N,) numbers the distinct hashes, one number a row; `pairs` (P,2) are the numbers of
    hashes that are near each other, the smaller one first.
    """

    values: Rows
    pairs: Rows


def codes_of(column: pa.Array | pa.ChunkedArray) -> Rows:
    """A number for each row, the same for equal texts, counted in the order of appearance."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes: Rows = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def compact(codes: Rows) -> tuple[Rows, Rows]:
    """The numbers that occur, sorted, and for each row the position of its own among them."""
    occurs = np.zeros(codes.max(initial=-1) + 1, np.bool_)
    occurs[codes] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[codes]


def first_of(codes: Rows) -> Rows:
    """For each row the first row with the same number, (N,)."""
    first = np.zeros(codes.max(initial=-1) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first[codes]


def parse_hashes(hashes: Sequence[str] | pa.Array) -> Hashes:
    """Perceptual hashes as numbers, (N,).

    Args:
        hashes: 16 hexadecimal digits each, none missing.

    Raises:
        ValueError: One of them is something else.
    """
    array = pa.array(hashes, pa.string())
    if not pc.all(pc.equal(pc.binary_length(array), 16), skip_nulls=False, min_count=0).as_py():
        raise ValueError("a perceptual hash has 16 hexadecimal digits")
    _, _, data = array.buffers()
    text = memoryview(data)[16 * array.offset :][: 16 * len(array)] if data else b""
    return np.frombuffer(binascii.unhexlify(text), ">u8").astype(np.uint64)


def _clean_bands(count: int, distance: int) -> int:
    """How many whole bands near hashes shall share: more make fewer chance pairs and more sorts."""

    def cost(clean: int) -> float:
        bands = distance + clean
        compared = count**2 / 2 ** (1 + _BITS * clean / bands)
        return math.comb(bands, clean) * (30 * count + compared)

    return min(range(1, 4), key=cost)


def near_pairs(hashes: Hashes, distance: int) -> Rows:
    """All pairs of hashes that differ in few bits.

    The 64 bits are cut into `distance + c` bands: two hashes that differ in at most `distance` bits
    agree in at least c whole bands, by the pigeonhole principle. So for each choice of c bands only
    hashes that agree in them are compared: for a distance of 4, c = 2 and evenly spread hashes one
    pair in two million for each of 15 choices (Manku, Jain and Das Sarma 2007, "Detecting
    near-duplicates for web crawling").

    Args:
        hashes: Distinct 64-bit hashes, (N,).
        distance: Largest number of different bits.

    Returns:
        Indices (P,2), the smaller one first, sorted.
    """
    count = len(hashes)
    found = [np.empty(0, np.int64)]
    clean = _clean_bands(count, distance)
    edges = np.linspace(0, _BITS, distance + clean + 1).astype(int).tolist()
    bands = [(1 << high) - (1 << low) for low, high in itertools.pairwise(edges)]
    for chosen in itertools.combinations(bands, clean):
        keys = hashes & np.uint64(sum(chosen))
        order = np.argsort(keys)
        keys, ordered = keys[order], hashes[order]
        active, step = np.flatnonzero(keys[1:] == keys[:-1]), 1
        # In sorted order equal keys lie side by side; whoever has no equal `step` further has none
        # at a greater step.
        while len(active):
            near = np.bitwise_count(ordered[active] ^ ordered[active + step]) <= distance
            one, other = order[active[near]], order[active[near] + step]
            found.append(np.minimum(one, other) * count + np.maximum(one, other))
            step += 1
            active = active[active + step < count]
            active = active[keys[active] == keys[active + step]]
    pairs = np.unique(np.concatenate(found))
    return np.stack([pairs // max(count, 1), pairs % max(count, 1)], axis=1)


def likeness(hashes: Hashes, distance: int) -> Likeness:
    """Which rows look alike, by their perceptual hashes (N,)."""
    distinct, values = np.unique(hashes, return_inverse=True)
    return Likeness(values.astype(np.int64), near_pairs(distinct, distance))


def _components(photographs: Rows, alike: Likeness) -> Rows:
    """The number of the connected part that each row belongs to, if links are followed."""
    rows = np.arange(len(photographs))
    first_photograph, first_value = first_of(photographs), first_of(alike.values)
    founder_of_value = np.zeros(alike.values.max(initial=-1) + 1, np.int64)
    founder_of_value[alike.values] = first_value
    near = founder_of_value[alike.pairs]
    one = np.concatenate([rows, rows, near[:, 0]])
    other = np.concatenate([first_photograph, first_value, near[:, 1]])
    linked = one != other
    links = (np.ones(linked.sum(), np.bool_), (one[linked], other[linked]))
    graph = coo_array(links, shape=(len(rows), len(rows)))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], np.int64)


def group_rows(
    photographs: Rows, hashes: Hashes, alike: Likeness, distance: int
) -> tuple[Rows, dict[int, tuple[int, int]]]:
    """Put near-duplicates, and parts of one photograph, into groups.

    The rows are taken one by one, from the oldest on. A row joins the group of the older rows that
    are near it or parts of its photograph; without any it founds a group. A row that is near two
    groups joins neither, because each of them may already stand in a split of its own.

    So two laws hold. No two grouped rows that are near each other, or parts of one photograph, are
    in different groups. And rows added behind the others change no group: what the first n rows get
    does not depend on what follows. The limit: groups depend on the order of age, and on the older
    rows being there.

    Where each row of a connected part is linked to its oldest row, the part is one group, whatever
    the order; only the other parts are taken row by row.

    Args:
        photographs: A number for the photograph that a row shows, from the oldest row to the
            youngest, (N,).
        hashes: Perceptual hashes of the rows, (N,).
        alike: Which of them look alike.
        distance: Bits by which the hashes of near-duplicates differ at most.

    Returns:
        For each row the oldest row of its group, or -1 for a row that is near two groups, (N,); and
        for each such row the oldest rows of two of those groups.
    """
    part = _components(photographs, alike)
    founders = first_of(part)
    linked = np.bitwise_count(hashes ^ hashes[founders]) <= distance
    linked |= photographs == photographs[founders]
    tangled = np.zeros(part.max(initial=-1) + 1, np.bool_)
    tangled[part[~linked]] = True
    rows = np.flatnonzero(tangled[part])
    return _take_one_by_one(rows, founders, photographs, alike)


def _take_one_by_one(
    rows: Rows, founders: Rows, photographs: Rows, alike: Likeness
) -> tuple[Rows, dict[int, tuple[int, int]]]:
    used = np.zeros(alike.values.max(initial=-1) + 1, np.bool_)
    used[alike.values[rows]] = True
    neighbors: defaultdict[int, list[int]] = defaultdict(list)
    for one, other in alike.pairs[used[alike.pairs].all(axis=1)].tolist():
        neighbors[one].append(other)
        neighbors[other].append(one)
    of_value: dict[int, int] = {}
    of_photograph: dict[int, int] = {}
    conflicts: dict[int, tuple[int, int]] = {}
    columns = (rows, photographs[rows], alike.values[rows])
    for row, photograph, value in np.stack(columns, axis=1).tolist():
        looks = (value, *neighbors.get(value, ()))
        found = {of_value[look] for look in looks if look in of_value}
        if photograph in of_photograph:
            found.add(of_photograph[photograph])
        if len(found) > 1:
            first, second, *_ = sorted(found)
            conflicts[row] = (first, second)
            founders[row] = -1
            continue
        founders[row] = of_value[value] = of_photograph[photograph] = found.pop() if found else row
    return founders, conflicts


def name_groups(founders: Rows, photographs: pa.Array) -> pa.Array:
    """The names of the groups: 16 hexadecimal digits of the SHA-256 of the founder's photograph.

    Args:
        founders: For each row the oldest row of its group, or -1, (N,).
        photographs: What the photograph of each row is called.

    Returns:
        Dictionary-encoded texts (N,), null for -1.
    """
    grouped = founders >= 0
    distinct, numbers = compact(founders[grouped])
    texts = photographs.take(pa.array(distinct)).cast(pa.binary()).to_pylist()
    names = pa.array([hashlib.sha256(text).hexdigest()[:16] for text in texts], pa.string())
    chosen = np.zeros(len(founders), np.int64)
    chosen[grouped] = numbers
    return pa.DictionaryArray.from_arrays(pa.array(chosen, mask=~grouped), names)
