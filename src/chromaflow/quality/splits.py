"""Which image trains and which one judges, by a hash of its group."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from chromaflow.errors import DataError
from chromaflow.project import SPLITS
from chromaflow.settings import Split


def position(salt: str, group: str) -> float:
    """Where a group stands in 0..1: evenly spread, and decided by salt and name alone."""
    digest = hashlib.sha256(f"{salt}\n{group}".encode()).digest()
    # 53 bits are what a float holds exactly, so that 1 is never reached.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _fill(groups: Sequence[str], sizes: Counter[str], images: int) -> set[str]:
    """The groups, taken in order while they fit, that hold a number of images together."""
    taken: set[str] = set()
    for group in groups:
        if sizes[group] <= images:
            taken.add(group)
            images -= sizes[group]
    return taken


def _by_count(groups: Sequence[str], split: Split) -> dict[str, str]:
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda group: (position(split.salt, group), group))
    train = _fill(order, sizes, split.train)
    rest = [group for group in order if group not in train]
    held_out = sum(sizes[group] for group in rest)
    wanted = max(1, round(split.validation * held_out)) if split.validation else 0
    validation = _fill(rest, sizes, wanted)
    names = dict.fromkeys(rest, "test") | dict.fromkeys(validation, "validation")
    return names | dict.fromkeys(train, "train")


def _by_share(groups: Sequence[str], split: Split) -> dict[str, str]:
    # The tests come first, so that another share of validation leaves them as they are.
    names = {}
    for group in set(groups):
        place = position(split.salt, group)
        held_out = "validation" if place < split.test + split.validation else "train"
        names[group] = "test" if place < split.test else held_out
    return names


def assign_splits(groups: Sequence[str], split: Split) -> list[str]:
    """The split of each row: train, validation or test, one and the same for a whole group.

    With `split.train` = 0 the shares decide, each group by its own hash; so groups that are added
    move nothing, and the shares are met on average. With `split.train` = N exactly N images train,
    groups taken in the order of their hashes while they fit; of the others the share
    `split.validation` validates and the rest tests, and `split.test` is not used. Such a count
    cannot be held without moving groups when images are added.
    """
    names = _by_count(groups, split) if split.train else _by_share(groups, split)
    return [names[group] for group in groups]


def check_splits(assigned: Sequence[str], split: Split) -> dict[str, int]:
    """Count the images of each split.

    Raises:
        DataError: A split that the settings ask for holds no image, or `split.train` is not met.
    """
    counts = {name: list(assigned).count(name) for name in SPLITS}
    if split.train and counts["train"] != split.train:
        raise DataError(
            f"split.train = {split.train}, but of {len(assigned)} accepted images only "
            f"{counts['train']} can train: near-duplicates stay together.",
            f"--set split.train={counts['train']}, or another split.salt",
        )
    asked = {"train": True, "validation": split.validation > 0, "test": split.test > 0}
    if split.train:
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
