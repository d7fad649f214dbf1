from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chromaflow.errors import DataError
from chromaflow.quality.splits import assign_splits, check_splits, position
from chromaflow.settings import Split

GROUPS = st.lists(st.integers(0, 40).map(lambda number: f"{number:016x}"), max_size=80)
SHARE = st.floats(0, 0.49, allow_nan=False)


@given(GROUPS, SHARE, SHARE, st.integers(0, 60), st.text(max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_group_is_in_one_split(groups, validation, test, train, salt) -> None:
    split = Split(train=train, validation=validation, test=test, salt=salt)
    assigned = assign_splits(groups, split)
    assert len(assigned) == len(groups)
    assert set(assigned) <= {"train", "validation", "test"}
    assert len(set(zip(groups, assigned, strict=True))) == len(set(groups))


@given(GROUPS, GROUPS, SHARE, SHARE)
@settings(max_examples=100, deadline=None)
def test_images_that_are_added_move_nothing(old, new, validation, test) -> None:
    split = Split(validation=validation, test=test)
    assert assign_splits(old + new, split)[: len(old)] == assign_splits(old, split)


@given(GROUPS, SHARE, SHARE, SHARE)
@settings(max_examples=50, deadline=None)
def test_another_share_of_validation_leaves_the_tests(groups, one, other, test) -> None:
    def tests(validation: float) -> list[bool]:
        split = Split(validation=validation, test=test)
        return [name == "test" for name in assign_splits(groups, split)]

    assert tests(one) == tests(other)


def test_shares_are_met_on_average_and_the_salt_decides() -> None:
    groups = [f"{number:016x}" for number in range(20_000)]
    counts = Counter(assign_splits(groups, Split(validation=0.1, test=0.2)))
    assert counts["validation"] == pytest.approx(2000, abs=150)
    assert counts["test"] == pytest.approx(4000, abs=200)
    assert assign_splits(groups, Split(salt="a")) != assign_splits(groups, Split(salt="b"))
    assert all(0 <= position("s", group) < 1 for group in groups)


def test_positions_never_change() -> None:
    # The split of every published data set hangs on these numbers.
    assert position("chromaflow", "0" * 16) == pytest.approx(0.6574714457118471, abs=1e-15)


@given(GROUPS, st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_exact_counts_are_met_or_told(groups, train) -> None:
    split = Split(train=train, validation=0)
    assigned = assign_splits(groups, split)
    assert assigned.count("train") <= train
    assert "validation" not in assigned
    if assigned.count("train") != train:
        with pytest.raises(DataError, match=r"split\.train"):
            check_splits(assigned, split)


def test_the_published_split() -> None:
    groups = [f"{number:016x}" for number in range(411)]
    split = Split(train=361, validation=0)
    assert check_splits(assign_splits(groups, split), split) == {
        "train": 361,
        "validation": 0,
        "test": 50,
    }
    split = Split(train=361, validation=0.2)
    assert check_splits(assign_splits(groups, split), split)["validation"] == 10


def test_large_groups_that_do_not_fit_are_passed_over() -> None:
    groups = ["large"] * 6 + ["a", "b", "c", "d"]
    for salt in "wxyz":
        split = Split(train=4, validation=0, salt=salt)
        assigned = assign_splits(groups, split)
        assert assigned == ["test"] * 6 + ["train"] * 4


@pytest.mark.parametrize(
    ("assigned", "split", "empty"),
    [
        (["train", "test"], Split(), "validation"),
        (["train", "validation"], Split(), "test"),
        (["validation", "test"], Split(), "train"),
        (["train", "train"], Split(train=2, validation=0), "test"),
        (["train", "train", "test"], Split(train=2, validation=0.1), "validation"),
    ],
)
def test_a_split_that_stays_empty_is_told(assigned, split, empty) -> None:
    with pytest.raises(DataError, match=rf"split {empty}: .*split\.salt") as caught:
        check_splits(assigned, split)
    assert "split.salt" in caught.value.mend


def test_more_training_images_than_there_are_is_told() -> None:
    split = Split(train=9, validation=0)
    with pytest.raises(DataError, match=r"split\.train = 9.* only 3"):
        check_splits(assign_splits(["a", "b", "c"], split), split)


def test_a_split_that_nobody_asks_for_may_stay_empty() -> None:
    split = Split(validation=0, test=0)
    assert check_splits(assign_splits(["a", "b"], split), split)["train"] == 2
