"""Training crops and validation squares, read from the Lab shards.

Every random choice is a pure function of the seed and of the number of the crop in the whole
training. So neither the number of worker processes nor a kill and resume changes a crop, and
ranks share the numbers without overlap.
"""

import functools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from chromaflow.errors import SettingsError
from chromaflow.project import Project
from chromaflow.settings import Settings
from chromaflow.store.read import INDEX, LabItem, LabShards, is_empty

# More would tell little and cost much; they are taken evenly over the split.
_VALIDATION_IMAGES = 256

Pixels = npt.NDArray[np.uint8]


class Batch(NamedTuple):
    """Stored Lab pixels, uint8 (B, H, W, 3), and the ids of their images."""

    pixels: Tensor
    ids: list[str]


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, images: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, 0, epoch)).permutation(images)


class _Images:
    """The shards of a split, opened in each process at first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards: LabShards | None = LabShards(folder)
        self.images = self._shards.images

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": None}

    def __getitem__(self, index: int) -> LabItem:
        if self._shards is None:
            self._shards = LabShards(self.folder)
        return self._shards[index]


class Crops(Dataset[tuple[Pixels, str]]):
    """Random crops, mirrored half of the time, by their number in the training.

    An epoch's worth of numbers goes through all images in an order of its own.

    Args:
        folder: `data/lab/train`.
        crop: Side, pixels.
        seed: Decides order, places and mirroring.

    Raises:
        DataError: There are no such shards.
        SettingsError: The stored images are smaller than the crop.
    """

    def __init__(self, folder: Path, crop: int, seed: int) -> None:
        self._images = _Images(folder)
        self.images = self._images.images
        self._crop, self._seed = crop, seed
        side = min(self._images[0]["lab"].shape[:2])
        if side < crop:
            raise SettingsError(
                f"training.crop = {crop}, but the images of {folder} are stored with a shorter "
                f"side of {side} pixels.",
                "lower training.crop, or raise preprocess.size and run chromaflow preprocess",
            )

    def __getitem__(self, number: int) -> tuple[Pixels, str]:
        """Crop `number` of the training: uint8 (crop, crop, 3), and the id of its image."""
        epoch, place = divmod(number, self.images)
        item = self._images[int(_order(self._seed, epoch, self.images)[place])]
        rng = np.random.default_rng((self._seed, 1, number))
        height, width = item["lab"].shape[:2]
        top = int(rng.integers(height - self._crop + 1))
        left = int(rng.integers(width - self._crop + 1))
        pixels = item["lab"][top : top + self._crop, left : left + self._crop]
        return (pixels[:, ::-1] if rng.integers(2) else pixels), item["id"]


class Squares(Dataset[tuple[Pixels, str]]):
    """The middle squares of a split's images, or of some evenly taken from them.

    Args:
        folder: `data/lab/<split>`.
        most: How many images at most.

    Raises:
        DataError: There are no such shards.
    """

    def __init__(self, folder: Path, most: int = _VALIDATION_IMAGES) -> None:
        self._images = _Images(folder)
        self.images = self._images.images
        count = min(most, self.images)
        self._indices = [i * self.images // count for i in range(count)]
        self._side = min(self._images[0]["lab"].shape[:2]) // 32 * 32

    def __len__(self) -> int:
        """How many squares there are."""
        return len(self._indices)

    def __getitem__(self, place: int) -> tuple[Pixels, str]:
        """Square `place`: uint8 (side, side, 3), the side a multiple of 32; and its image's id."""
        item = self._images[self._indices[place]]
        height, width = item["lab"].shape[:2]
        top, left = (height - self._side) // 2, (width - self._side) // 2
        return item["lab"][top : top + self._side, left : left + self._side], item["id"]


class Numbers(Sampler[list[int]]):
    """The numbers of the crops of each batch of a rank, from a batch on.

    Args:
        batches: Of the whole training, of a rank.
        size: Images of a batch.
        start: Batches that are trained already.
        rank: Of this process.
        ranks: How many processes train.
    """

    def __init__(self, batches: int, size: int, start: int, rank: int, ranks: int) -> None:
        self._batches, self._size, self._start = batches, size, start
        self._rank, self._ranks = rank, ranks

    def __len__(self) -> int:
        """Batches of the whole training, those before the start among them, as Lightning counts."""
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        """Numbers of the crops, batch by batch."""
        for batch in range(self._start, self._batches):
            first = (batch * self._ranks + self._rank) * self._size
            yield list(range(first, first + self._size))


def collate(items: list[tuple[Pixels, str]]) -> Batch:
    """Stack images of one size."""
    pixels, ids = zip(*items, strict=True)
    return Batch(torch.from_numpy(np.stack(pixels)), list(ids))


def _leave_interrupts_to_the_trainer(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class LabData(pl.LightningDataModule):
    """Crops of the train split, squares of the validation split where there is one.

    Args:
        project: The checkout; `data/lab` is read.
        settings: Its `seed`, `training` and `runtime` count.

    Raises:
        DataError: `data/lab/train` is missing, empty or broken.
        SettingsError: The stored images are smaller than the crop.
    """

    def __init__(self, project: Project, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self.crops = Crops(project.lab / "train", settings.training.crop, settings.seed)
        validation = project.lab / "validation"
        held_out = (validation / INDEX).is_file() and not is_empty(validation)
        self.squares = Squares(validation) if held_out else None
        self.images = {
            "train": self.crops.images,
            "validation": self.squares.images if self.squares else 0,
        }
        self._shown = validation if self.squares else project.lab / "train"

    def _loader(self, dataset: Dataset[tuple[Pixels, str]], **kwargs: Any) -> DataLoader[Batch]:
        workers = self._settings.runtime.workers
        if workers:
            # Forked, OpenCV and torch's threads may hang.
            kwargs |= {"multiprocessing_context": "spawn", "persistent_workers": True}
        return DataLoader(
            dataset,  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=_leave_interrupts_to_the_trainer,
            pin_memory=torch.cuda.is_available() and self._settings.training.accelerator != "cpu",
            **kwargs,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches of this rank that are not trained yet."""
        training, trainer = self._settings.training, self.trainer
        assert trainer is not None  # noqa: S101 (Lightning sets it before it asks)
        numbers = Numbers(
            training.steps * training.accumulate,
            training.batch,
            start=trainer.global_step * training.accumulate,
            rank=trainer.global_rank,
            ranks=trainer.world_size,
        )
        return self._loader(self.crops, batch_sampler=numbers)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """The squares of this rank; none where there is no validation split."""
        if self.squares is None:
            return []
        trainer = self.trainer
        assert trainer is not None  # noqa: S101
        share = range(trainer.global_rank, len(self.squares), trainer.world_size)
        return self._loader(self.squares, sampler=share, batch_size=self._settings.training.batch)

    def examples(self, count: int) -> Batch:
        """A few fixed images to show: of the validation split, or else of the train split."""
        squares = Squares(self._shown, count)
        return collate([squares[i] for i in range(len(squares))])
