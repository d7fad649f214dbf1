"""Random crops and center crops of the stored images.

Every random choice is a pure function of the seed and of the number of the crop in the whole
training. So neither the number of worker processes nor a kill and resume changes a crop, and
ranks share the numbers without overlap.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from chromaflow.data.store.mirror import Mirror
from chromaflow.data.store.read import LabItem, LabShards, read_labels
from chromaflow.errors import SettingsError
from chromaflow.settings import Training
from chromaflow.training.data.augment import source_side
from chromaflow.training.data.order import ShuffleOrder

# More would add little information and cost much; they are taken evenly over the split.
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
        """Bring shards into the cache meanwhile; what fails is reported when it is read."""
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
        self._order = ShuffleOrder(self._images.sizes, training.shuffle_shards, seed)
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


class CenterCrops(Dataset[Item]):
    """The center crops of a split's images, or of some evenly taken from them.

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
        """How many crops there are."""
        return len(self._indices)

    def __getitem__(self, place: int) -> Item:
        """Square `place`: uint8 (side, side, 3), the side a multiple of 32; and its image's id."""
        index = self._indices[place]
        item = self._images[index]
        height, width = item["lab"].shape[:2]
        top, left = (height - self._side) // 2, (width - self._side) // 2
        pixels = item["lab"][top : top + self._side, left : left + self._side]
        return Item(pixels, item["id"], scene=self._images.scene(index))
