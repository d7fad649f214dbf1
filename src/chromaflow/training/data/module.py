"""Batches of crops for training and validation, read from the Lab shards."""

import signal
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chromaflow.data.store.mirror import Mirror
from chromaflow.data.store.read import INDEX, is_empty
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training.data.augment import warp_stored
from chromaflow.training.data.crops import CenterCrops, Crops, Item
from chromaflow.training.data.order import ResumableBatchSampler


class Batch(NamedTuple):
    """Stored Lab pixels, uint8 (B, H, W, 3), the ids of their images, and (B, 2) still to apply.

    `scenes` are labels of the images, int64 (B,), −1 where there is none; None where nobody looks
    at them.
    """

    pixels: Tensor
    ids: list[str]
    amounts: Tensor | None = None
    scenes: Tensor | None = None


def collate(items: list[Item]) -> Batch:
    """Stack images of one size."""
    pixels, ids, amounts, scenes = zip(*items, strict=True)
    drawn = None if amounts[0] is None else torch.tensor(amounts)
    labels = None if scenes[0] is None else torch.tensor(scenes)
    return Batch(torch.from_numpy(np.stack(pixels)), list(ids), drawn, labels)


def _leave_interrupts_to_the_trainer(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class LabData(pl.LightningDataModule):
    """Crops of the train split, center crops of the validation split where there is one.

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
        self.center_crops = (
            CenterCrops(validation, mirror=mirror, labeled=labeled) if held_out else None
        )
        self.images = {
            "train": self.crops.images,
            "validation": self.center_crops.images if self.center_crops else 0,
        }
        self._shown = validation if self.center_crops else project.lab / "train"
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
        numbers = ResumableBatchSampler(
            training.steps * training.accumulate,
            training.batch,
            start=trainer.global_step * training.accumulate,
            rank=trainer.global_rank,
            ranks=trainer.world_size,
        )
        return self._loader(self.crops, batch_sampler=numbers)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """The center crops of this rank; none where there is no validation split."""
        if self.center_crops is None:
            return []
        trainer = self.trainer
        assert trainer is not None  # noqa: S101
        share = range(trainer.global_rank, len(self.center_crops), trainer.world_size)
        return self._loader(
            self.center_crops, sampler=share, batch_size=self._settings.training.batch
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Zoom and shear the crops, on the device."""
        if batch.amounts is None:
            return batch
        crop = self._settings.training.crop
        pixels = warp_stored(batch.pixels, batch.amounts, crop)
        return Batch(pixels, batch.ids, None, batch.scenes)

    def examples(self, count: int) -> Batch:
        """A few fixed images to show: of the validation split, or else of the train split."""
        crops = CenterCrops(self._shown, count, self._mirror)
        return collate([crops[i] for i in range(len(crops))])
