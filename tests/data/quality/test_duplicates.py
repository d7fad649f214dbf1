import hashlib
import itertools
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chromaflow.data.quality.duplicates import (
    codes_of,
    first_of,
    group_rows,
    likeness,
    name_groups,
    near_pairs,
    parse_hashes,
)

# Few bits, so that many hashes are near each other, some of them at the ends of bands.
HASH = st.lists(st.sampled_from([0, 1, 12, 13, 14, 25, 31, 32, 50, 62, 63]), max_size=11).map(
    lambda bits: sum(1 << bit for bit in set(bits))
)
ROWS = st.lists(st.tuples(st.sampled_from("abcdefgh"), HASH), max_size=30)


def brute_force(hashes: list[int], distance: int) -> set[tuple[int, int]]:
    return {
        (one, other)
        for one, other in itertools.combinations(range(len(hashes)), 2)
        if (hashes[one] ^ hashes[other]).bit_count() <= distance
    }


@given(st.lists(HASH, unique=True, max_size=40), st.integers(0, 16))
@settings(max_examples=150, deadline=None)
def test_near_pairs_are_what_comparing_all_finds(hashes: list[int], distance: int) -> None:
    pairs = near_pairs(np.array(hashes, np.uint64), distance)
    assert set(map(tuple, pairs.tolist())) == brute_force(hashes, distance)
    assert len(pairs) == len(np.unique(pairs, axis=0))


def test_near_pairs_of_many_hashes() -> None:
    rng = np.random.default_rng(5)
    hashes = np.unique(rng.integers(0, 2**64, 3000, dtype=np.uint64))
    flips = np.uint64(1) << rng.integers(0, 64, (len(hashes), 4)).astype(np.uint64)
    both = np.unique(np.concatenate([hashes, hashes ^ np.bitwise_xor.reduce(flips, axis=1)]))
    found = {tuple(sorted(both[list(pair)].tolist())) for pair in near_pairs(both, 4).tolist()}
    assert len(found) >= 2950
    assert all((one ^ other).bit_count() <= 4 for one, other in found)


Groups = tuple[list[str | None], dict[int, tuple[int, int]]]


def group(rows: list[tuple[str, int]], distance: int) -> Groups:
    """The group of each row by name, and the rows that are near two groups."""
    photographs = pa.array([name for name, _ in rows], pa.string())
    hashes = parse_hashes([f"{value:016x}" for _, value in rows])
    alike = likeness(hashes, distance)
    founders, conflicts = group_rows(codes_of(photographs), hashes, alike, distance)
    return name_groups(founders, photographs).to_pylist(), conflicts


@given(ROWS, st.integers(0, 6))
@settings(max_examples=200, deadline=None)
def test_no_near_duplicates_and_no_parts_of_a_photograph_are_in_two_groups(
    rows: list[tuple[str, int]], distance: int
) -> None:
    names, _ = group(rows, distance)
    for one, other in itertools.combinations(range(len(rows)), 2):
        near = (rows[one][1] ^ rows[other][1]).bit_count() <= distance
        together = near or rows[one][0] == rows[other][0]
        if together and names[one] is not None and names[other] is not None:
            assert names[one] == names[other]


@given(ROWS, st.integers(0, 6), st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_rows_that_are_added_change_no_group(
    rows: list[tuple[str, int]], distance: int, first: int
) -> None:
    (before, _), (after, _) = group(rows[:first], distance), group(rows, distance)
    assert after[: len(before)] == before


@given(ROWS, st.integers(0, 6))
@settings(max_examples=100, deadline=None)
def test_groups_are_no_larger_than_their_links(rows: list[tuple[str, int]], distance: int) -> None:
    names, conflicts = group(rows, distance)
    assert {row for row, name in enumerate(names) if name is None} == set(conflicts)
    members = defaultdict(list)
    for row, name in enumerate(names):
        members[name].append(row)
    members.pop(None, None)
    for linked in members.values():
        for row in linked[1:]:
            assert any(
                rows[row][0] == rows[older][0]
                or (rows[row][1] ^ rows[older][1]).bit_count() <= distance
                for older in linked
                if older < row
            )


def test_a_group_is_named_after_the_photograph_of_its_oldest_row() -> None:
    names, conflicts = group([("a", 0), ("b", 0b11), ("c", 0xFFFF << 40)], 2)
    assert names[0] == names[1] == hashlib.sha256(b"a").hexdigest()[:16]
    assert names[2] == hashlib.sha256(b"c").hexdigest()[:16]
    assert not conflicts


def test_a_row_near_two_groups_joins_neither() -> None:
    names, conflicts = group([("a", 0b0000), ("b", 0b1111), ("c", 0b0011), ("a", 0b1110)], 2)
    assert names[0] != names[1]
    assert names[2:] == [None, None]
    assert conflicts == {2: (0, 1), 3: (0, 1)}


def test_a_million_equal_hashes_are_no_million_million_pairs() -> None:
    rows = 100_000
    names, conflicts = group([(str(i), 2**64 - 1) for i in range(rows)], 4)
    assert len(set(names)) == 1
    assert not conflicts


def test_first_copies() -> None:
    codes = codes_of(pa.array(["x", "y", "x", "z", "y", "x"]))
    assert first_of(codes).tolist() == [0, 1, 0, 3, 1, 0]


@pytest.mark.parametrize("distance", [0, 4])
def test_no_rows_at_all(distance: int) -> None:
    assert near_pairs(np.empty(0, np.uint64), distance).shape == (0, 2)
    assert group([], distance) == ([], {})
