import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chromaflow.training.data.order import ResumableBatchSampler, ShuffleOrder

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4), st.integers(0, 20), st.booleans())
def test_ranks_share_the_numbers_without_overlap(
    batches: int, size: int, ranks: int, start: int, shift: bool
) -> None:
    start = min(start, batches) if shift else 0
    shares = [
        list(ResumableBatchSampler(batches, size, start, rank, ranks)) for rank in range(ranks)
    ]
    numbers = sorted(number for share in shares for batch in share for number in batch)
    assert numbers == list(range(start * size * ranks, batches * size * ranks))
    assert all(
        len(ResumableBatchSampler(batches, size, start, rank, ranks)) == batches
        for rank in range(ranks)
    )


@given(st.integers(1, 20), st.integers(0, 20))
def test_a_later_start_gives_the_rest(batches: int, start: int) -> None:
    whole = list(ResumableBatchSampler(batches, 3, 0, 1, 2))
    assert list(ResumableBatchSampler(batches, 3, min(start, batches), 1, 2)) == whole[start:]


@given(sizes, st.integers(0, 5), st.integers(1, 4), st.integers(0, 9))
def test_every_order_goes_once_through_all_images(
    sizes: list[int], together: int, epochs: int, seed: int
) -> None:
    order, images = ShuffleOrder(sizes, together, seed), sum(sizes)
    for epoch in range(epochs):
        numbers = range(epoch * images, (epoch + 1) * images)
        assert sorted(order.image(number) for number in numbers) == list(range(images))


@given(sizes, st.integers(0, 5), st.lists(st.integers(0, 300), max_size=20))
def test_an_order_does_not_depend_on_what_was_asked(
    sizes: list[int], together: int, numbers: list[int]
) -> None:
    asked = ShuffleOrder(sizes, together, 3)
    for number in numbers:
        assert asked.image(number) == ShuffleOrder(sizes, together, 3).image(number)


def test_the_order_of_all_is_the_one_it_always_was() -> None:
    order = ShuffleOrder([5, 4, 3], 0, 7)
    for epoch in range(3):
        expected = np.random.default_rng((7, 0, epoch)).permutation(12).tolist()
        assert [order.image(epoch * 12 + place) for place in range(12)] == expected


@given(sizes, st.integers(1, 5), st.integers(0, 9))
def test_a_few_shards_are_mixed_and_then_the_few_that_were_told(
    sizes: list[int], together: int, seed: int
) -> None:
    order = ShuffleOrder(sizes, together, seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    seen: list[list[int]] = [[]]
    told: list[int] = []
    for number in range(sum(sizes)):
        shard, following = int(owner[order.image(number)]), order.shards_after(number)
        if number and following != told:
            assert sorted(set(seen[-1])) != sorted(told)
            seen.append([])
        if number and seen[-1] == []:
            assert shard in told
        seen[-1].append(shard)
        told = following
    if together < len(sizes):
        assert all(len(set(part)) <= together for part in seen)
    assert told == []
