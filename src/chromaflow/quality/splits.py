"""Which image trains and which one judges, by a hash of its group."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chromaflow.errors import DataError, SettingsError
from chromaflow.project import SPLITS
from chromaflow.quality.duplicates import codes_of, compact
from chromaflow.quality.table import Mask, Rows
from chromaflow.settings import Split

TRAIN, VALIDATION, TEST = range(3)
UNUSED = ""
_NONE = -1
_NAMES = (*SPLITS, UNUSED)


def position(salt: str, group: str) -> float:
    """Where a group stands in 0..1: evenly spread, and decided by salt and name alone."""
    return float(_positions(salt, [group.encode()])[0])


def _positions(salt: str, groups: Sequence[bytes]) -> NDArray[np.float64]:
    start = f"{salt}\n".encode()
    digests = b"".join([hashlib.sha256(start + group).digest() for group in groups])
    words = np.frombuffer(digests, ">u8")[::4]
    # 53 bits are what a float holds exactly, so that 1 is never reached.
    return (words >> np.uint64(11)) / 2**53


class _Groups(NamedTuple):
    """The groups: how many images each holds, its label, its hint and where its hash stands."""

    sizes: Rows
    labels: Rows
    hints: Rows
    positions: NDArray[np.float64]


def hint_codes(hints: Sequence[str | None] | pa.Array) -> Rows:
    """The split that the source tells for each row as its number in `SPLITS`, or -1, (N,)."""
    names = pa.array(hints, pa.string()).dictionary_encode()
    known = [SPLITS.index(n) if n in SPLITS else _NONE for n in names.dictionary.to_pylist()]
    numbers: Rows = np.array([*known, _NONE], np.int64)
    found: Rows = numbers[names.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)]
    return found


def hint_of_groups(groups: Rows, hints: Rows) -> Rows:
    """The hint that counts for each group: what judges more strictly, test over validation."""
    found = np.full(groups.max(initial=-1) + 1, _NONE, np.int64)
    np.maximum.at(found, groups, hints)
    return found


def _fill(
    order: Rows, groups: _Groups, eligible: Mask, images: int, *, stratify: bool = True
) -> Mask:
    """The groups, taken in order while they fit, that hold a number of images together.

    Each label first gets its share of the number (largest remainders); what large groups leave open
    is filled from all.
    """
    taken = np.zeros(len(order), np.bool_)
    order = order[eligible[order]]
    if stratify:
        weights = np.bincount(groups.labels[order], weights=groups.sizes[order])
        exact = weights * (images / max(weights.sum(), images, 1))
        quotas = np.floor(exact).astype(np.int64)
        short = round(exact.sum()) - quotas.sum()
        quotas[np.argsort(quotas - exact, kind="stable")[:short]] += 1
        for label in np.flatnonzero(quotas):
            _take(order[groups.labels[order] == label], groups.sizes, int(quotas[label]), taken)
    _take(order[~taken[order]], groups.sizes, images - int(groups.sizes[taken].sum()), taken)
    return taken


def _take(order: Rows, sizes: Rows, images: int, taken: Mask) -> None:
    chosen = []
    for group, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        if images == 0:
            break
        if size <= images:
            chosen.append(group)
            images -= size
    taken[chosen] = True


def _is_count(part: float) -> bool:
    return isinstance(part, int) and part > 0


def _eligible(groups: _Groups, split: int) -> list[Mask]:
    """Who may enter a split, the preferred ones first.

    Where the source names images for a split, only those and unhinted ones enter. Where it names
    none to judge, some that it names for training do.
    """
    hinted = groups.hints == split
    others = groups.hints == _NONE
    if split != TRAIN and not hinted.any():
        others |= groups.hints == TRAIN
    return [hinted, others]


def _by_count(groups: _Groups, split: Split) -> Rows:
    places = np.full(len(groups.sizes), len(SPLITS), np.int64)
    order = np.argsort(groups.positions, kind="stable")
    total = int(groups.sizes.sum())

    def fill(name: int, order: Rows, images: int) -> None:
        for eligible in _eligible(groups, name):
            free = eligible & (places == len(SPLITS))
            missing = images - int(groups.sizes[places == name].sum())
            places[_fill(order, groups, free, missing)] = name

    def fill_rest(name: int) -> None:
        for eligible in _eligible(groups, name):
            places[eligible & (places == len(SPLITS))] = name

    if split.train:
        fill(TRAIN, order, _wanted(split.train, total))
        total -= int(groups.sizes[places == TRAIN].sum())
    fill(VALIDATION, order, _wanted(split.validation, total))
    if _is_count(split.train) and not _is_count(split.test):
        fill_rest(TEST)
    else:
        # From the other end: what added images push out of a split is then seldom another's.
        fill(TEST, order[::-1], _wanted(split.test, total))
    if not split.train:
        fill_rest(TRAIN)
    return places


def _wanted(part: float, images: int) -> int:
    if _is_count(part) or not part:
        return int(part)
    return max(1, round(part * images))


def _by_share(groups: _Groups, split: Split) -> Rows:
    # The tests come first, so that another share of validation leaves them as they are.
    may = {name: np.any(_eligible(groups, name), axis=0) for name in (TEST, VALIDATION)}
    test = np.where(may[TEST], split.test, 0)
    held_out = test + np.where(may[VALIDATION], split.validation, 0)
    edges = np.stack([test, held_out, held_out + (split.train or 1)])
    order = np.array([TEST, VALIDATION, TRAIN, len(SPLITS)])
    places: Rows = order[(groups.positions >= edges).sum(axis=0)]
    told = np.isin(groups.hints, [VALIDATION, TEST])
    places[told] = groups.hints[told]
    return places


def _check_shares(split: Split) -> None:
    parts = (split.train, split.validation, split.test)
    shares = sum(part for part in parts if not _is_count(part))
    if shares > 1 + 1e-9:
        raise SettingsError(
            f"split.train, split.validation and split.test are {shares:g} together.",
            "chromaflow settings: shares of less than 1 together",
        )


def place_rows(
    groups: pa.Array, split: Split, labels: Rows | None = None, hints: Rows | None = None
) -> Rows:
    """The split of each row as its number in `SPLITS`, or their count for none, (N,).

    One and the same for a whole group. Where all of `split` are shares (or 0), the hash of each
    group decides by itself; so groups that are added move nothing. The hash knows nothing of
    labels, so each label's share is met on average: of n groups of a label, √(p(1−p)/n) is the
    standard deviation from a share p. Closer shares would need to look at other groups, and then an
    image that goes could move another from test to train.

    Where one of them is a count, it is met exactly, and each label gets its part of it (largest
    remainders): groups in the order of their hashes while they fit. With `split.train` = N and no
    count for the tests, all others test, and `split.validation` is a share of those others.
    Otherwise what is in no split stays unused. Counts cannot be held without moving groups when
    images are added; only those at the edge of a split move.

    What the source itself assigns (`hints`) stays there: what it names for validation or test never
    trains, and what it names for training judges only where it names nothing to judge.

    Args:
        groups: The group of each row, texts (N,).
        split: The settings.
        labels: A number for the label of each row, (N,).
        hints: As `hint_codes`, one and the same in a group, (N,).

    Raises:
        SettingsError: The shares are more than the whole.
    """
    _check_shares(split)
    if not pa.types.is_dictionary(groups.type):
        groups = groups.dictionary_encode()
    used, codes = compact(codes_of(groups))
    names = groups.dictionary.take(pa.array(used)).cast(pa.binary()).to_pylist()
    nothing = np.zeros(len(codes), np.int64)
    label_of_group = np.zeros(len(names), np.int64)
    label_of_group[codes[::-1]] = (nothing if labels is None else labels)[::-1]
    described = _Groups(
        sizes=np.bincount(codes, minlength=len(names)),
        labels=label_of_group,
        hints=hint_of_groups(codes, nothing + _NONE if hints is None else hints),
        positions=_positions(split.salt, names),
    )
    counted = any(_is_count(part) for part in (split.train, split.validation, split.test))
    return (_by_count if counted else _by_share)(described, split)[codes]


def names_of(places: Rows) -> list[str]:
    """The names of the splits; the empty text for none."""
    return list(np.array(_NAMES, object)[places])


def assign_splits(groups: Sequence[str], split: Split) -> list[str]:
    """The split of each row by name, empty for none; see `place_rows`."""
    return names_of(place_rows(pa.array(groups, pa.string()), split))


def check_splits(assigned: Sequence[str], split: Split) -> dict[str, int]:
    """Count the images of each split.

    Raises:
        DataError: A split that the settings ask for holds no image, or a count is not met.
    """
    counts = {name: list(assigned).count(name) for name in SPLITS}
    does = {"train": "train", "validation": "validate", "test": "test"}
    for name in SPLITS:
        part = getattr(split, name)
        if _is_count(part) and counts[name] != part:
            raise DataError(
                f"split.{name} = {part}, but of {len(assigned)} accepted images only "
                f"{counts[name]} can {does[name]}: near-duplicates stay together.",
                f"--set split.{name}={counts[name]}, or another split.salt",
            )
    asked = {"train": True, "validation": split.validation > 0, "test": split.test > 0}
    if _is_count(split.train):
        asked["test"] = True
    for name in SPLITS:
        if asked[name] and not counts[name]:
            raise DataError(
                f"no image falls into the split {name}: with split.salt = {split.salt!r}, "
                f"split.validation = {split.validation} and split.test = {split.test} there are "
                "too few groups of near-duplicates, which stay together.",
                "--set split.salt=ANOTHER, other shares, or more images",
            )
    return counts
