import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from chromaflow.data.store import chunks
from chromaflow.data.store.mirror import Mirror
from chromaflow.data.store.read import LabItem
from chromaflow.errors import DataError, SettingsError
from chromaflow.project.paths import Project
from chromaflow.settings import Training
from chromaflow.training.data.crops import CenterCrops, Crops
from chromaflow.training.data.module import collate


def crops_of(project: Project, split: str, seed: int, **training: object) -> Crops:
    return Crops(project.lab / split, Training.model_validate(training), seed)


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
    data = CenterCrops(project.lab / "train", most=4)
    assert len(data) == 4
    assert [data[i][1] for i in range(4)] == ["train-0", "train-3", "train-6", "train-9"]
    np.testing.assert_array_equal(data[1][0], squares[3][4:68])
    assert len(CenterCrops(project.lab / "validation")) == 4


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


def test_what_is_larger_than_the_image_is_as_large_as_it(project: Project) -> None:
    assert crops_of(project, "train", 3, crop=64, zoom=1, shear=1)[0].pixels.shape == (64, 64, 3)


def test_crops_through_a_mirror_are_the_same(
    project: Project, squares: list[np.ndarray], tmp_path: Path
) -> None:
    folder = project.lab / "train"
    for path in folder.glob("*"):
        path.unlink()
    items = [LabItem(id=f"train-{i}", lab=lab) for i, lab in enumerate(squares[:12])]
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
