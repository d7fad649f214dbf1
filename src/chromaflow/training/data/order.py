"""The order in which each epoch goes through the images, and the crops of each rank."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler


class ShuffleOrder:
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


class ResumableBatchSampler(Sampler[list[int]]):
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
