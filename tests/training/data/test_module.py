from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import pytorch_lightning as pl
from hypothesis import given
from hypothesis import strategies as st

from chromaflow.project.paths import Project
from chromaflow.settings import Settings, Training
from chromaflow.training.data.augment import warp_stored
from chromaflow.training.data.crops import Crops
from chromaflow.training.data.module import LabData, collate
from chromaflow.training.data.order import ResumableBatchSampler, ShuffleOrder

MakeLab = Callable[..., Project]


def crops_of(project: Project, split: str, seed: int, **training: object) -> Crops:
    return Crops(project.lab / split, Training.model_validate(training), seed)


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)


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
        share = list(ResumableBatchSampler(batches, size, start, rank, ranks))
        for worker in range(workers):
            order = ShuffleOrder(sizes, together, 1)
            drawn += [(n, order.image(n)) for batch in share[worker::workers] for n in batch]
    order = ShuffleOrder(sizes, together, 1)
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


def test_without_zoom_and_shear_nothing_is_left_to_do(project: Project) -> None:
    batch = collate([crops_of(project, "train", 3, crop=32)[number] for number in range(4)])
    assert batch.amounts is None


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
