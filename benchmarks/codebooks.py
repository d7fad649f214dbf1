"""What encoding color as a training target costs, beside the loss that uses it and plain search.

    python benchmarks/codebooks.py [--batch 16] [--side 64] [--threads 1] [--rounds 15]

Milliseconds on the CPU for a batch of scikit-image's photographs, medians over rounds in which all
take turns, so that load from elsewhere hits them alike. The loss is the cross-entropy of encoded
targets, forward and backward, on logits in the order of memory that networks give; that of
regression is the mean square. Plain search takes the distance of every pixel to every bin of a
group, and the nearest of them.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from skimage import color, data
from torch import Tensor

from chromaflow.color.codebooks.bins import BinnedCodebook, SoftBins
from chromaflow.color.codebooks.channel50 import Channel50
from chromaflow.color.codebooks.hue_chroma import BINS, MAX_CHROMA, HueChroma
from chromaflow.color.codebooks.registry import CODEBOOKS, Codebook, build_codebook
from chromaflow.color.stored import ab_histogram, encode_stored
from chromaflow.training.losses.bins import softened_cross_entropy
from common.machine import machine

Group = tuple[Tensor, Tensor, int]
"""Points (N, d) of the pixels, (bins, d) of the bins, and how many bins of a pixel."""


def photographs(batch: int, side: int) -> tuple[Tensor, np.ndarray]:
    """The ab of tiles, (B, 2, side, side), and the histogram of the photographs."""
    stored = [
        encode_stored(color.rgb2lab(getattr(data, name)()))
        for name in ("astronaut", "coffee", "rocket", "chelsea")
    ]
    random = np.random.default_rng(0)
    tiles = []
    for number in range(batch):
        pixels = stored[number % len(stored)]
        top, left = (random.integers(length - side + 1) for length in pixels.shape[:2])
        tiles.append(pixels[top : top + side, left : left + side, 1:])
    ab = torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).float() - 128
    return ab, np.sum([ab_histogram(pixels) for pixels in stored], axis=0)


def groups(codebook: BinnedCodebook, ab: Tensor) -> list[Group]:
    """What plain search compares."""
    points = ab.movedim(1, -1).reshape(-1, 2)
    if isinstance(codebook, Channel50):
        return [(points[:, :1], codebook.centers, 1), (points[:, 1:], codebook.centers, 1)]
    if isinstance(codebook, HueChroma):
        chroma = torch.linalg.vector_norm(points, dim=1, keepdim=True)
        bins = (torch.arange(BINS)[:, None] + 0.5) * (MAX_CHROMA / BINS)
        unit = points / chroma.clamp(min=1e-6)
        return [(unit, codebook.directions, 1), (chroma, bins, 1)]
    centers: Tensor = codebook.centers  # type: ignore[assignment]
    return [(points, centers, int(codebook.config().get("neighbors", 1)))]


def search(codebook: BinnedCodebook, ab: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Nearest bins and their shares without tables."""
    found = []
    for points, centers, neighbors in groups(codebook, ab):
        near = torch.topk(torch.cdist(points, centers), neighbors, largest=False)
        found.append((near.indices, torch.softmax(-near.values.square() / 50, dim=1)))
    return found


def take_loss(codebook: Codebook, logits: Tensor, targets: tuple[SoftBins, ...] | Tensor) -> None:
    """Forward and backward of the loss on targets that are there."""
    logits.grad = None
    if isinstance(targets, Tensor):
        torch.nn.functional.mse_loss(codebook.decode(logits) / 128, targets).backward()
        return
    assert isinstance(codebook, BinnedCodebook)
    total, first = torch.zeros(()), 0
    for part, target in zip(codebook.split(logits), targets, strict=True):
        total = total + (softened_cross_entropy(part, target, first) * target.weights).mean()
        first += part.shape[1]
    total.backward()


def runs_of(codebook: Codebook, ab: Tensor) -> dict[str, Callable[[], object]]:
    """What is timed of a codebook, by column of the table."""
    shape = (ab.shape[0], codebook.channels, *ab.shape[2:])
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    logits = logits.to(memory_format=torch.channels_last).requires_grad_()
    runs: dict[str, Callable[[], object]] = {
        "encode": partial(codebook.encode, ab),
        "loss": partial(take_loss, codebook, logits, codebook.encode(ab)),
    }
    if isinstance(codebook, BinnedCodebook):
        runs["search"] = partial(search, codebook, ab)
    return runs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    ab, histogram = photographs(chosen.batch, chosen.side)
    codebooks = {name: build_codebook(name, histogram) for name in CODEBOOKS}
    runs = {
        (name, column): run
        for name, codebook in codebooks.items()
        for column, run in runs_of(codebook, ab).items()
    }
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(chosen.rounds + 1):
        for key, run in runs.items():
            start = time.perf_counter()
            run()
            times[key].append(1000 * (time.perf_counter() - start))
    medians = {key: statistics.median(values[1:]) for key, values in times.items()}
    print(f"{machine()}, {chosen.threads} threads, {chosen.batch}×{chosen.side}×{chosen.side}\n")
    print("| codebook | channels | encode, ms | plain search, ms | loss, ms | encode / loss |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, codebook in codebooks.items():
        encode, loss = medians[name, "encode"], medians[name, "loss"]
        plain = medians.get((name, "search"), math.nan)
        shown = "–" if math.isnan(plain) else f"{plain:.2f}"
        share = f"{100 * encode / loss:.1f}%"
        print(f"| {name} | {codebook.channels} | {encode:.2f} | {shown} | {loss:.2f} | {share} |")


if __name__ == "__main__":
    main()
