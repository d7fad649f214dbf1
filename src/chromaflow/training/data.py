"""Training crops and validation squares, read from the Lab shards.

Every random choice is a pure function of the seed and of the number of the crop in the whole
training. So neither the number of worker processes nor a kill and resume changes a crop, and
ranks share the numbers without overlap.
"""

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from chromaflow.settings import Settings, Training
from chromaflow.store.mirror import Mirror
from chromaflow.store.read import INDEX, LabItem, LabShards, is_empty, read_labels
from chromaflow.training.augment import source_side, warp_stored

# More would tell little and cost much; they are taken evenly over the split.
_VALIDATION_IMAGES = 256

Pixels = npt.NDArray[np.uint8]


class Item(NamedTuple):
    """Stored Lab pixels of one image, uint8 (H, W, 3), its id, and (zoom, shear) still to apply.

    `scene` is its label, −1 where it has none; None where nobody looks at it.
    """

    pixels: Pixels
    id: str
    amounts: tuple[float, float] | None = None
    scene: int | None = None


class Batch(NamedTuple):
    """Stored Lab pixels, uint8 (B, H, W, 3), the ids of their images, and (B, 2) still to apply.

    `scenes` are labels of the images, int64 (B,), −1 where there is none; None where nobody looks
    at them.
    """

    pixels: Tensor
    ids: list[str]
    amounts: Tensor | None = None
    scenes: Tensor | None = None


class Order:
    """In which order each epoch goes through the images of a split.

    All of them are mixed, or those of a few shards after those of a few others, so that shards
    from a mirror need not all be kept.

    Args:
        sizes: Images of each shard.
        together: Shards that are mixed, 0 for all.
        seed: Decides the orders.
    """

    def __init__(self, sizes: Sequence[int], together: int, seed: int) -> None:
        self._sizes, self._seed = np.asarray(sizes), seed
        self._together = together if 0 < together < len(sizes) else 0
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._epoch = -1

    def _mix(self, epoch: int) -> None:
        random = np.random.default_rng((self._seed, 0, epoch))
        self._epoch, self._parts = epoch, list[npt.NDArray[np.int64]]()
        if not self._together:
            self._images = random.permutation(int(self._sizes.sum()))
            return
        shards = random.permutation(len(self._sizes))
        self._parts = np.split(shards, range(self._together, len(shards), self._together))
        images = [
            np.concatenate([self._starts[shard] + np.arange(self._sizes[shard]) for shard in part])
            for part in self._parts
        ]
        self._ends = np.cumsum([len(part) for part in images])
        self._images = np.concatenate([random.permutation(part) for part in images])

    def image(self, number: int) -> int:
        """Position in the split of image `number` of the training."""
        epoch, place = divmod(number, int(self._sizes.sum()))
        if epoch != self._epoch:
            self._mix(epoch)
        return int(self._images[place])

    def shards_after(self, number: int) -> list[int]:
        """Shards that are mixed next after those of image `number`, in the same epoch."""
        self.image(number)
        if not self._parts:
            return []
        place = number % int(self._sizes.sum())
        following = int(np.searchsorted(self._ends, place, side="right")) + 1
        return self._parts[following].tolist() if following < len(self._parts) else []


class _Images:
    """The shards of a split, opened in each process at first use."""

    def __init__(self, folder: Path, mirror: Mirror | None, *, labeled: bool) -> None:
        self._shards = LabShards(folder, mirror)
        self.images, self.sizes = len(self._shards), self._shards.sizes
        self._scenes = read_labels(folder).numbers if labeled else None
        self._ahead: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ahead": None}

    def __getitem__(self, index: int) -> LabItem:
        return self._shards[index]

    def scene(self, index: int) -> int | None:
        """Label of an image; None where they are not read."""
        return None if self._scenes is None else int(self._scenes[index])

    def fetch_ahead(self, shards: list[int]) -> None:
        """Bring shards into the cache meanwhile; what fails is told when it is read."""
        self._ahead = self._ahead or ThreadPoolExecutor(1)
        for number in shards:
            self._ahead.submit(self._shards.fetch, number)


class Crops(Dataset[Item]):
    """Random crops, mirrored half of the time, by their number in the training.

    An epoch's worth of numbers goes through all images in an order of its own. With zoom or shear
    a crop is larger than it will be, and says how it is to be warped on the device.

    Args:
        folder: `data/lab/train`.
        training: Its `crop`, `mirror`, `zoom`, `shear` and `shuffle_shards` count.
        seed: Decides order, places, mirroring, zoom and shear.
        mirror: Where shards come from that the folder lacks.

    Raises:
        DataError: There are no such shards.
        SettingsError: The stored images are smaller than the crop.
    """

    def __init__(
        self, folder: Path, training: Training, seed: int, mirror: Mirror | None = None
    ) -> None:
        self._images = _Images(folder, mirror, labeled="scene" in training.losses)
        self.images = self._images.images
        self._order = Order(self._images.sizes, training.shuffle_shards, seed)
        self._seed, self._zoom, self._shear = seed, training.zoom, training.shear
        self._mirror_crops = training.mirror
        self._mirrored, self._following = mirror is not None, list[int]()
        side = min(self._images[0]["lab"].shape[:2])
        if side < training.crop:
            raise SettingsError(
                f"training.crop = {training.crop}, but the images of {folder} are stored with a "
                f"shorter side of {side} pixels.",
                "lower training.crop, or raise preprocess.size and run chromaflow preprocess",
            )
        self._side = source_side(training.crop, self._zoom, self._shear, side)

    def __getitem__(self, number: int) -> Item:
        """Crop `number` of the training."""
        place = self._order.image(number)
        item = self._images[place]
        if self._mirrored and (shards := self._order.shards_after(number)) != self._following:
            self._following = shards
            self._images.fetch_ahead(shards)
        rng = np.random.default_rng((self._seed, 1, number))
        height, width = item["lab"].shape[:2]
        top = int(rng.integers(height - self._side + 1))
        left = int(rng.integers(width - self._side + 1))
        pixels = item["lab"][top : top + self._side, left : left + self._side]
        mirrored = self._mirror_crops and rng.integers(2)
        pixels = pixels[:, ::-1] if mirrored else pixels
        return Item(pixels, item["id"], self._draw(number), self._images.scene(place))

    def _draw(self, number: int) -> tuple[float, float] | None:
        if not self._zoom and not self._shear:
            return None
        zoom, shear = np.random.default_rng((self._seed, 2, number)).uniform(-1, 1, 2)
        return float((1 + self._zoom) ** zoom), float(self._shear * shear)


class Squares(Dataset[Item]):
    """The middle squares of a split's images, or of some evenly taken from them.

    Args:
        folder: `data/lab/<split>`.
        most: How many images at most.
        mirror: Where shards come from that the folder lacks.
        labeled: Give their labels, too.

    Raises:
        DataError: There are no such shards.
    """

    def __init__(
        self,
        folder: Path,
        most: int = _VALIDATION_IMAGES,
        mirror: Mirror | None = None,
        *,
        labeled: bool = False,
    ) -> None:
        self._images = _Images(folder, mirror, labeled=labeled)
        self.images = self._images.images
        count = min(most, self.images)
        self._indices = [i * self.images // count for i in range(count)]
        self._side = min(self._images[0]["lab"].shape[:2]) // 32 * 32

    def __len__(self) -> int:
        """How many squares there are."""
        return len(self._indices)

    def __getitem__(self, place: int) -> Item:
        """Square `place`: uint8 (side, side, 3), the side a multiple of 32; and its image's id."""
        index = self._indices[place]
        item = self._images[index]
        height, width = item["lab"].shape[:2]
        top, left = (height - self._side) // 2, (width - self._side) // 2
        pixels = item["lab"][top : top + self._side, left : left + self._side]
        return Item(pixels, item["id"], scene=self._images.scene(index))


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


def collate(items: list[Item]) -> Batch:
    """Stack images of one size."""
    pixels, ids, amounts, scenes = zip(*items, strict=True)
    drawn = None if amounts[0] is None else torch.tensor(amounts)
    labels = None if scenes[0] is None else torch.tensor(scenes)
    return Batch(torch.from_numpy(np.stack(pixels)), list(ids), drawn, labels)


def _leave_interrupts_to_the_trainer(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class LabData(pl.LightningDataModule):
    """Crops of the train split, squares of the validation split where there is one.

    Args:
        project: The checkout; `data/lab` is read.
        settings: Its `seed`, `training` and `runtime` count; shards of `runtime.mirror` are kept in
            the project's state.

    Raises:
        DataError: `data/lab/train` is missing, empty or broken.
        SettingsError: The stored images are smaller than the crop.
    """

    def __init__(self, project: Project, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        runtime, training = settings.runtime, settings.training
        cache = project.state / "lab"
        mirror = Mirror(runtime.mirror, cache, runtime.mirror_cache) if runtime.mirror else None
        self.crops = Crops(project.lab / "train", training, settings.seed, mirror)
        validation = project.lab / "validation"
        held_out = (validation / INDEX).is_file() and not is_empty(validation)
        labeled = "scene" in training.losses
        self.squares = Squares(validation, mirror=mirror, labeled=labeled) if held_out else None
        self.images = {
            "train": self.crops.images,
            "validation": self.squares.images if self.squares else 0,
        }
        self._shown = validation if self.squares else project.lab / "train"
        self._mirror = mirror

    def _loader(self, dataset: Dataset[Item], **kwargs: Any) -> DataLoader[Batch]:
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

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Zoom and shear the crops, on the device."""
        if batch.amounts is None:
            return batch
        crop = self._settings.training.crop
        pixels = warp_stored(batch.pixels, batch.amounts, crop)
        return Batch(pixels, batch.ids, None, batch.scenes)

    def examples(self, count: int) -> Batch:
        """A few fixed images to show: of the validation split, or else of the train split."""
        squares = Squares(self._shown, count, self._mirror)
        return collate([squares[i] for i in range(len(squares))])
