"""Which images train, validate and test, by a hash of their group."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chromaflow.data.quality.duplicates import codes_of, compact
from chromaflow.data.quality.facts import Mask, Rows
from chromaflow.errors import DataError
from chromaflow.project.splits import SPLITS
from chromaflow.settings import Split

TRAIN, VALIDATION, TEST = range(3)
UNUSED = ""
_NONE = -1
_NAMES = (*SPLITS, UNUSED)


def positions(salt: str, groups: Sequence[bytes]) -> NDArray[np.float64]:
    """Where groups stand in 0..1, (N,): evenly spread, and decided by salt and name alone."""
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
    """The split that the source gives for each row as its number in `SPLITS`, or -1, (N,)."""
    names = pa.array(hints, pa.string()).dictionary_encode()
    known = [SPLITS.index(n) if n in SPLITS else _NONE for n in names.dictionary.to_pylist()]
    numbers: Rows = np.array([*known, _NONE], np.int64)
    found: Rows = numbers[names.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)]
    return found


def hint_of_groups(groups: Rows, hints: Rows) -> Rows:
    """The hint that counts for each group: the strictest split, test over validation."""
    found = np.full(groups.max(initial=-1) + 1, _NONE, np.int64)
    np.maximum.at(found, groups, hints)
    return found


def _take(order: Rows, groups: _Groups, images: int, room: list[int] | None = None) -> list[int]:
    """Groups, in order while they fit, of so many images; of each label at most its `room`."""
    chosen = []
    labels, sizes = groups.labels[order].tolist(), groups.sizes[order].tolist()
    for group, label, size in zip(order.tolist(), labels, sizes, strict=True):
        if images == 0:
            break
        if size <= images and (room is None or size <= room[label]):
            chosen.append(group)
            images -= size
            if room is not None:
                room[label] -= size
    return chosen


def _quotas(groups: _Groups, eligible: Mask, images: int) -> list[int]:
    """Each label's part of a number of images, by largest remainders."""
    weights = np.bincount(groups.labels, weights=groups.sizes * eligible)
    exact = weights * (images / max(weights.sum(), images, 1))
    quotas = np.floor(exact).astype(np.int64)
    short = round(exact.sum()) - quotas.sum()
    quotas[np.argsort(quotas - exact, kind="stable")[:short]] += 1
    return [int(quota) for quota in quotas]


def _is_count(part: float) -> bool:
    return isinstance(part, int) and part > 0


def _eligible(groups: _Groups, split: int) -> tuple[Mask, Mask]:
    """Who may enter a split: those that the source names for it, and others.

    Where the source names images for a split, only those and unhinted ones enter. Where it names
    none to judge, some that it names for training do.
    """
    hinted = groups.hints == split
    others = groups.hints == _NONE
    if split != TRAIN and not hinted.any():
        others |= groups.hints == TRAIN
    return hinted, others


def _masks(groups: _Groups, judged: Sequence[int]) -> dict[int, tuple[Mask, Mask]]:
    """`_eligible` of each split; what is named for training waits where it may judge as well."""
    masks = {name: _eligible(groups, name) for name in range(len(SPLITS))}
    if not all(masks[name][0].any() for name in judged):
        hinted, others = masks[TRAIN]
        masks[TRAIN] = hinted & others, hinted | others
    return masks


def _wanted(part: float, images: int) -> int:
    if _is_count(part) or not part:
        return int(part)
    return max(1, round(part * images))


def _wanted_counts(split: Split, images: int) -> tuple[dict[int, int], int]:
    """How many images each split shall hold, and the split that gets all the rest."""
    wanted = {}
    if split.train:
        wanted[TRAIN] = _wanted(split.train, images)
        images = max(images - wanted[TRAIN], 0)
    wanted[VALIDATION] = _wanted(split.validation, images)
    if _is_count(split.train) and not _is_count(split.test):
        return wanted, TEST
    wanted[TEST] = _wanted(split.test, images)
    return wanted, _NONE if split.train else TRAIN


def _likely(groups: _Groups, wanted: dict[int, int], rest: int) -> Rows:
    """The split that the hash of each group names for it, in the proportion that is wanted.

    Where all others train, the parts of the tests are rounded up to powers of two, so that they
    hardly ever change when images are added.
    """
    parts = np.array([wanted.get(name, 0) for name in (TEST, VALIDATION, TRAIN)], float)
    total = max(float(groups.sizes.sum()), parts.sum(), 1)
    if rest == TRAIN and (parts[:2] / total < 0.25).all():
        parts[:2] = np.exp2(np.ceil(np.log2(np.maximum(parts[:2], 1e-9) / total))) * total
    if rest != _NONE:
        parts[TEST - rest] = total - parts.sum()
    edges = np.cumsum(parts) / max(parts.sum(), 1)
    found: Rows = TEST - np.searchsorted(edges[:-1], groups.positions, side="right")
    return found


def _by_count(groups: _Groups, split: Split) -> Rows:
    """Exact counts. The groups are numbered from the oldest to the youngest.

    The hash names a split for each group, and the oldest of those that it names enter, so groups
    that are added behind push nothing out but where the labels' parts of a count change. What a
    label lacks, then what a split lacks, others fill.
    """
    wanted, rest = _wanted_counts(split, int(groups.sizes.sum()))
    likely = _likely(groups, wanted, rest)
    places = np.full(len(groups.sizes), len(SPLITS), np.int64)
    masks = _masks(groups, [name for name in (VALIDATION, TEST) if wanted.get(name, name == rest)])

    def fill(name: int, eligible: Mask, room: list[int] | None) -> None:
        missing = wanted[name] - int(groups.sizes[places == name].sum())
        order = np.flatnonzero(eligible & (places == len(SPLITS)))
        places[_take(order, groups, missing, room)] = name

    counted = [name for name in (TEST, VALIDATION, TRAIN) if name in wanted]
    for eligible in (0, 1):
        rooms = {}
        free = places == len(SPLITS)
        for name in counted:
            missing = wanted[name] - int(groups.sizes[places == name].sum())
            rooms[name] = _quotas(groups, masks[name][eligible] & free, missing)
        for name in counted:
            fill(name, masks[name][eligible] & (likely == name), rooms[name])
        for name in counted:
            fill(name, masks[name][eligible], rooms[name])
        for name in counted:
            fill(name, masks[name][eligible], None)
    if rest != _NONE:
        places[np.any(masks[rest], axis=0) & (places == len(SPLITS))] = rest
    return places


def _by_share(groups: _Groups, split: Split) -> Rows:
    # The tests come first, so that another share of validation leaves them as they are.
    may = {name: np.any(_eligible(groups, name), axis=0) for name in (TEST, VALIDATION)}
    test = np.where(may[TEST], split.test, 0)
    held_out = test + np.where(may[VALIDATION], split.validation, 0)
    edges = np.stack([test, held_out, held_out + (split.train or 1)])
    order = np.array([TEST, VALIDATION, TRAIN, len(SPLITS)])
    places: Rows = order[(groups.positions >= edges).sum(axis=0)]
    named = np.isin(groups.hints, [VALIDATION, TEST])
    places[named] = groups.hints[named]
    return places


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
    remainders). The hash still names the split of a group, and the oldest groups enter first; a
    split that lacks images takes others. So images that are added stay out of what is full: of the
    older ones only those move by which the labels' parts of a count change. With `split.train` = N
    and no count for the tests, all others test, and `split.validation` is a share of those others;
    there, added images move some from train to test. Otherwise what is in no split stays unused.

    What the source itself assigns (`hints`) stays there: what it names for validation or test never
    trains, and what it names for training judges only where it names nothing to judge.

    Args:
        groups: The group of each row, texts (N,).
        split: The settings.
        labels: A number for the label of each row, (N,).
        hints: As `hint_codes`, one and the same in a group, (N,).
    """
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
        positions=positions(split.salt, names),
    )
    counted = any(_is_count(part) for part in (split.train, split.validation, split.test))
    return (_by_count if counted else _by_share)(described, split)[codes]


def names_of(places: Rows) -> list[str]:
    """The names of the splits; the empty text for none."""
    return list(np.array(_NAMES, object)[places])


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
                f"a larger source.images, --set split.{name}={counts[name]} or another split.salt",
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
