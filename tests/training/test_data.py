import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chromaflow.errors import DataError, SettingsError
from chromaflow.project import Project
from chromaflow.training.data import Crops, Numbers, Squares, collate

MakeLab = Callable[..., Project]


@pytest.fixture
def project(make_lab: MakeLab) -> Project:
    return make_lab()


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
    crops = Crops(project.lab / "train", 32, seed=3)
    epochs = [[crops[e * 12 + i][1] for i in range(12)] for e in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len(set(epochs[0])) == 12
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_crops_depend_on_seed_and_number_alone(project: Project) -> None:
    crops = Crops(project.lab / "train", 32, seed=3)
    forwards = [crops[i] for i in range(24)]
    copy = pickle.loads(pickle.dumps(crops))  # noqa: S301 (as worker processes do)
    backwards = [copy[i] for i in reversed(range(24))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert one[1] == other[1]
        np.testing.assert_array_equal(one[0], other[0])
    others = [Crops(project.lab / "train", 32, seed=4)[i] for i in range(24)]
    assert [id_ for _, id_ in forwards] != [id_ for _, id_ in others]


def test_crops_are_parts_of_their_images_everywhere(
    project: Project, squares: list[np.ndarray]
) -> None:
    crops = Crops(project.lab / "train", 32, seed=0)
    places, mirrored = set(), 0
    for number in range(240):
        pixels, id_ = crops[number]
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
    pixels, _ = Crops(project.lab / "train", 64, seed=0)[0]
    assert pixels.shape == (64, 64, 3)
    with pytest.raises(SettingsError, match=r"training\.crop = 65.* 64 pixels"):
        Crops(project.lab / "train", 65, seed=0)


def test_squares_are_the_middles_evenly_taken(project: Project, squares: list[np.ndarray]) -> None:
    data = Squares(project.lab / "train", most=4)
    assert len(data) == 4
    assert [data[i][1] for i in range(4)] == ["train-0", "train-3", "train-6", "train-9"]
    np.testing.assert_array_equal(data[1][0], squares[3][4:68])
    assert len(Squares(project.lab / "validation")) == 4


def test_collate_stacks(project: Project) -> None:
    crops = Crops(project.lab / "train", 32, seed=3)
    batch = collate([crops[0], crops[1]])
    assert batch.pixels.shape == (2, 32, 32, 3)
    assert batch.pixels.numpy().dtype == np.uint8
    np.testing.assert_array_equal(batch.pixels[1].numpy(), crops[1][0])
    assert batch.ids == [crops[0][1], crops[1][1]]


def test_missing_shards_are_told(project: Project) -> None:
    with pytest.raises(DataError, match="chromaflow preprocess"):
        Crops(project.lab / "none", 32, seed=0)
