import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import pytorch_lightning as pl
from hypothesis import given
from hypothesis import strategies as st

from chromaflow.errors import DataError, SettingsError
from chromaflow.project import Project
from chromaflow.settings import Settings, Training
from chromaflow.store import chunks
from chromaflow.store.mirror import Mirror
from chromaflow.training.augment import warp_stored
from chromaflow.training.data import Crops, LabData, Numbers, Order, Squares, collate

MakeLab = Callable[..., Project]


@pytest.fixture
def project(make_lab: MakeLab) -> Project:
    return make_lab()


def crops_of(project: Project, split: str, seed: int, **training: object) -> Crops:
    return Crops(project.lab / split, Training.model_validate(training), seed)


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4), st.integers(0, 20), st.booleans())
def test_ranks_share_the_numbers_without_overlap(
    batches: int, size: int, ranks: int, start: int, shift: bool
) -> None:
    start = min(start, batches) if shift else 0
    shares = [list(Numbers(batches, size, start, rank, ranks)) for rank in range(ranks)]
    numbers = sorted(number for share in shares for batch in share for number in batch)
    assert numbers == list(range(start * size * ranks, batches * size * ranks))
    assert all(len(Numbers(batches, size, start, rank, ranks)) == batches for rank in range(ranks))


@given(st.integers(1, 20), st.integers(0, 20))
def test_a_later_start_gives_the_rest(batches: int, start: int) -> None:
    whole = list(Numbers(batches, 3, 0, 1, 2))
    assert list(Numbers(batches, 3, min(start, batches), 1, 2)) == whole[start:]


def test_an_epoch_goes_through_all_images(project: Project) -> None:
    crops = crops_of(project, "train", 3, crop=32)
    epochs = [[crops[e * 12 + i][1] for i in range(12)] for e in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len(set(epochs[0])) == 12
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_crops_depend_on_seed_and_number_alone(project: Project) -> None:
    crops = crops_of(project, "train", 3, crop=32)
    forwards = [crops[i] for i in range(24)]
    copy = pickle.loads(pickle.dumps(crops))  # noqa: S301 (as worker processes do)
    backwards = [copy[i] for i in reversed(range(24))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert one.id == other.id
        np.testing.assert_array_equal(one[0], other[0])
    others = [crops_of(project, "train", 4, crop=32)[i] for i in range(24)]
    assert [item.id for item in forwards] != [item.id for item in others]


def test_crops_are_parts_of_their_images_everywhere(
    project: Project, squares: list[np.ndarray]
) -> None:
    crops = crops_of(project, "train", 0, crop=32)
    places, mirrored = set(), 0
    for number in range(240):
        pixels, id_ = crops[number][:2]
        image = squares[int(id_.removeprefix("train-"))]
        rows = np.lib.stride_tricks.sliding_window_view(image, 32, axis=1)
        found = [
            (int(y), int(x), flipped)
            for flipped, crop in ((False, pixels), (True, pixels[:, ::-1]))
            for y, x in np.argwhere((rows == crop[0].T).all(axis=(2, 3)))
            if np.array_equal(image[y : y + 32, x : x + 32], crop)
        ]
        assert found
        places.add(found[0][:2])
        mirrored += found[0][2]
    assert 80 < mirrored < 160
    assert {y for y, _ in places} >= {0, 40}
    assert {x for _, x in places} >= {0, 32}


def test_a_crop_of_the_whole_image(project: Project) -> None:
    pixels = crops_of(project, "train", 0, crop=64)[0].pixels
    assert pixels.shape == (64, 64, 3)
    with pytest.raises(SettingsError, match=r"training\.crop = 65.* 64 pixels"):
        crops_of(project, "train", 0, crop=65)


def test_squares_are_the_middles_evenly_taken(project: Project, squares: list[np.ndarray]) -> None:
    data = Squares(project.lab / "train", most=4)
    assert len(data) == 4
    assert [data[i][1] for i in range(4)] == ["train-0", "train-3", "train-6", "train-9"]
    np.testing.assert_array_equal(data[1][0], squares[3][4:68])
    assert len(Squares(project.lab / "validation")) == 4


def test_collate_stacks(project: Project) -> None:
    crops = crops_of(project, "train", 3, crop=32)
    batch = collate([crops[0], crops[1]])
    assert batch.pixels.shape == (2, 32, 32, 3)
    assert batch.pixels.numpy().dtype == np.uint8
    np.testing.assert_array_equal(batch.pixels[1].numpy(), crops[1][0])
    assert batch.ids == [crops[0][1], crops[1][1]]


def test_missing_shards_are_told(project: Project) -> None:
    with pytest.raises(DataError, match="chromaflow preprocess"):
        crops_of(project, "none", 0, crop=32)


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(sizes, st.integers(0, 5), st.integers(1, 4), st.integers(0, 9))
def test_every_order_goes_once_through_all_images(
    sizes: list[int], together: int, epochs: int, seed: int
) -> None:
    order, images = Order(sizes, together, seed), sum(sizes)
    for epoch in range(epochs):
        numbers = range(epoch * images, (epoch + 1) * images)
        assert sorted(order.image(number) for number in numbers) == list(range(images))


@given(sizes, st.integers(0, 5), st.lists(st.integers(0, 300), max_size=20))
def test_an_order_does_not_depend_on_what_was_asked(
    sizes: list[int], together: int, numbers: list[int]
) -> None:
    asked = Order(sizes, together, 3)
    for number in numbers:
        assert asked.image(number) == Order(sizes, together, 3).image(number)


def test_the_order_of_all_is_the_one_it_always_was() -> None:
    order = Order([5, 4, 3], 0, 7)
    for epoch in range(3):
        expected = np.random.default_rng((7, 0, epoch)).permutation(12).tolist()
        assert [order.image(epoch * 12 + place) for place in range(12)] == expected


@given(sizes, st.integers(1, 5), st.integers(0, 9))
def test_a_few_shards_are_mixed_and_then_the_few_that_were_told(
    sizes: list[int], together: int, seed: int
) -> None:
    order = Order(sizes, together, seed)
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


@given(sizes, st.integers(0, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.data())
def test_ranks_and_workers_share_each_epoch_without_overlap_or_loss(
    sizes: list[int], together: int, ranks: int, workers: int, size: int, data: st.DataObject
) -> None:
    """As DataLoader deals the batches of a rank to its workers, in turn; also after a resume."""
    images = sum(sizes)
    batches = -(-2 * images // (size * ranks))
    start = data.draw(st.integers(0, batches))
    drawn = []
    for rank in range(ranks):
        share = list(Numbers(batches, size, start, rank, ranks))
        for worker in range(workers):
            order = Order(sizes, together, 1)
            drawn += [(n, order.image(n)) for batch in share[worker::workers] for n in batch]
    order = Order(sizes, together, 1)
    numbers = range(start * size * ranks, batches * size * ranks)
    assert sorted(drawn) == [(number, order.image(number)) for number in numbers]


def batches_of(project: Project, workers: int, trained: int) -> list[tuple[list[str], bytes]]:
    """Of the second of two ranks, 9 of 12 images a step of 3 accumulated batches; two epochs."""
    settings = Settings.model_validate(
        {
            "training": {"crop": 32, "batch": 2, "steps": 3, "accumulate": 3, "zoom": 0.5},
            "runtime": {"workers": workers},
        }
    )
    data = LabData(project, settings)
    data.trainer = cast(
        pl.Trainer, SimpleNamespace(global_step=trained, global_rank=1, world_size=2)
    )
    return [
        (batch.ids, batch.pixels.numpy().tobytes() + batch.amounts.numpy().tobytes())
        for batch in data.train_dataloader()
    ]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_in_the_middle_of_an_epoch_the_same_batches_follow(project: Project, workers: int) -> None:
    expected = batches_of(project, 0, 0)
    assert len(expected) == 9
    assert len({ids[0] for ids, _ in expected}) > 3
    for trained in [1] if workers else [0, 1, 2]:
        assert batches_of(project, workers, trained) == expected[3 * trained :]


def test_zoom_and_shear_are_drawn_by_number(project: Project) -> None:
    crops = crops_of(project, "train", 3, crop=32, zoom=0.5, shear=0.2)
    items = [crops[number] for number in range(300)]
    assert all(item.pixels.shape == (58, 58, 3) for item in items)
    zoom, shear = np.array([item.amounts for item in items]).T
    assert 1 / 1.5 <= zoom.min() < 0.7 and 1.45 < zoom.max() <= 1.5
    assert -0.2 <= shear.min() < -0.19 and 0.19 < shear.max() <= 0.2
    assert abs(np.log(zoom).mean()) < 0.05
    again = crops_of(project, "train", 3, crop=32, zoom=0.5, shear=0.2)[299]
    assert again.amounts == items[299].amounts
    np.testing.assert_array_equal(again.pixels, items[299].pixels)


def test_without_zoom_and_shear_nothing_is_left_to_do(project: Project) -> None:
    batch = collate([crops_of(project, "train", 3, crop=32)[number] for number in range(4)])
    assert batch.amounts is None


def test_what_is_larger_than_the_image_is_as_large_as_it(project: Project) -> None:
    assert crops_of(project, "train", 3, crop=64, zoom=1, shear=1)[0].pixels.shape == (64, 64, 3)


def test_batches_are_warped_after_their_way_to_the_device(project: Project) -> None:
    settings = Settings.model_validate({"training": {"crop": 32, "zoom": 0.5, "shear": 0.2}})
    data = LabData(project, settings)
    batch = collate([data.crops[number] for number in range(4)])
    warped = data.on_after_batch_transfer(batch, 0)
    assert warped.amounts is None and warped.ids == batch.ids
    assert batch.amounts is not None
    expected = warp_stored(batch.pixels, batch.amounts, 32)
    np.testing.assert_array_equal(warped.pixels.numpy(), expected.numpy())
    squares = data.examples(2)
    assert data.on_after_batch_transfer(squares, 0) is squares


def test_crops_through_a_mirror_are_the_same(
    project: Project, squares: list[np.ndarray], tmp_path: Path
) -> None:
    folder = project.lab / "train"
    for path in folder.glob("*"):
        path.unlink()
    items = [{"id": f"train-{i}", "lab": lab} for i, lab in enumerate(squares[:12])]
    found = chunks.write(folder, "group", 30_000, items)
    chunks.write_index(folder, found, 30_000)
    assert len(found) == 6
    training = Training.model_validate({"crop": 32, "shuffle_shards": 2})
    there = tmp_path / "there"
    shutil.copytree(folder, there / "train")
    whole = Crops(there / "train", training, 5)
    for path in folder.glob("*.bin"):
        path.unlink()
    through = Crops(folder, training, 5, Mirror(there.as_uri(), tmp_path / "cache", 150_000))
    for number in range(30):
        one, other = whole[number], through[number]
        assert one.id == other.id
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert through._images._ahead is not None
    through._images._ahead.shutdown(wait=True)
    assert list((tmp_path / "cache" / "train").iterdir())
