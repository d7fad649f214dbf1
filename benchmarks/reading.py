"""Lab shards back into memory, beside other ways; and whether a training loop waits for them.

    python benchmarks/reading.py ways --images FOLDER
    python benchmarks/reading.py waits --images FOLDER --step 0.1

The shards are those that the real `chromaflow preprocess` writes. `ways`: one process, the same
images from each, in the page cache; a bare memory map holds them all in one array of the size of
the crop, so it decides nothing and copies nothing. `waits`: the batches of the real
training data with worker processes, consumed by a loop that sleeps for as long as a step takes.
"""

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from chromaflow.data.store.decode import photograph_to_lab
from chromaflow.data.store.read import LabShards, read_split
from chromaflow.data.store.write import write_store
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training.data.module import LabData
from common.machine import machine
from common.photographs import make_project, photographs, repeated

Images = Iterable[np.ndarray]
_OURS = "shards, random access (as training reads)"
_FEW = 200
# Batches in which the processes start.
_FIRST = 20


def rates(images: Images) -> tuple[float, float]:
    """Images a second by the clock, and a second of processor time; each is touched."""
    start, worked = time.perf_counter(), time.process_time()
    count = sum(1 for image in images if image[::8, ::8].sum() >= 0)
    return count / (time.perf_counter() - start), count / (time.process_time() - worked)


def write_copies(folder: Path, train: Path, size: int) -> None:
    """The same images as .npy files, as one array of squares, and as tar archives for WebDataset.

    A square is what a memory map can hold, whose images must all have one shape.
    """
    shards = LabShards(train)
    squares = np.lib.format.open_memmap(
        folder / "squares.npy", "w+", np.uint8, (len(shards), size, size, 3)
    )
    with tarfile.open(folder / "web.tar", "w") as archive:
        for number, (identifier, lab) in enumerate(read_split(train)):
            np.save(folder / f"{identifier}.npy", lab)
            squares[number] = lab[:size, :size]
            content = io.BytesIO()
            np.save(content, lab)
            header = tarfile.TarInfo(f"{identifier}.npy")
            header.size = content.tell()
            archive.addfile(header, io.BytesIO(content.getvalue()))
    squares.flush()


def web_images(path: Path) -> Images:
    import webdataset  # noqa: PLC0415

    found = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
    return (item["npy"] for item in found.shuffle(100, initial=100).decode())


def streamed(train: Path) -> Images:
    from litdata import StreamingDataset  # noqa: PLC0415

    return (item["lab"] for item in StreamingDataset(str(train), shuffle=True, batch_decode=0))


def ways(given: argparse.Namespace, project: Project, paths: list[Path], folder: Path) -> None:
    """A table of how to read the same images."""
    cv2.setNumThreads(1)
    train = project.lab / "train"
    write_copies(folder, train, given.size)
    singles = sorted(folder.glob("0*.npy"))
    shards, squares = LabShards(train), np.load(folder / "squares.npy", mmap_mode="r")
    order = np.random.default_rng(0).permutation(len(shards))
    few = paths[:_FEW]
    compared: dict[str, Callable[[], Images]] = {
        _OURS: lambda: (shards[i]["lab"] for i in order),
        "shards, stored order": lambda: (lab for _, lab in read_split(train)),
        "bare memory map, copied, random": lambda: (np.array(squares[i]) for i in order),
        "bare memory map, not copied, random": lambda: (squares[i] for i in order),
        "one .npy file an image, random": lambda: (np.load(singles[i]) for i in order),
        "WebDataset, .npy in a tar, shuffled": lambda: web_images(folder / "web.tar"),
        "litdata's own stream of our shards, shuffled": lambda: streamed(train),
        "folder of JPEGs, decoded to Lab": lambda: (
            photograph_to_lab(path.read_bytes(), given.size, 10**9) for path in few
        ),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in compared}
    for _ in range(given.repeats + 1):
        for name, images in compared.items():
            found[name].append(rates(images()))
    # The first turn fills the caches.
    medians = {
        name: [statistics.median(turn[kind] for turn in turns[1:]) for kind in (0, 1)]
        for name, turns in found.items()
    }
    print(f"{len(shards)} images of {given.size} pixels, one process, median of {given.repeats}\n")
    print("| way | images/s | a second of processor time | ours is |\n|---|---:|---:|---:|")
    for name, (clock, core) in medians.items():
        print(f"| {name} | {clock:,.0f} | {core:,.0f} | {medians[_OURS][0] / clock:.2f}× |")


def waits(given: argparse.Namespace, project: Project) -> None:
    """What share of its time a loop waits for batches, once all processes are started."""
    print(f"batches of {given.batch} crops of {given.crop}, a step of {given.step:.3f} s\n")
    print("| workers | images/s | waited | longest wait |\n|---:|---:|---:|---:|")
    training = {"steps": given.steps + _FIRST, "batch": given.batch, "crop": given.crop}
    for workers in given.workers:
        settings = Settings.model_validate(
            {"training": {**training, "accelerator": "cpu"}, "runtime": {"workers": workers}}
        )
        data = LabData(project, settings)
        data.trainer = SimpleNamespace(global_step=0, global_rank=0, world_size=1)  # type: ignore[assignment]
        batches = iter(data.train_dataloader())
        for _ in range(_FIRST):
            next(batches)
            time.sleep(given.step)
        start, waited = time.perf_counter(), []
        for _ in range(given.steps):
            asked = time.perf_counter()
            next(batches)
            waited.append(time.perf_counter() - asked)
            time.sleep(given.step)
        took = time.perf_counter() - start
        rate, share = given.steps * given.batch / took, sum(waited) / took
        print(f"| {workers} | {rate:,.0f} | {share:.2%} | {max(waited) * 1000:.1f} ms |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("ways", "waits"), nargs="?", default="ways")
    parser.add_argument(
        "--images", type=Path, help="folder of JPEG files (default: scikit-image's)"
    )
    parser.add_argument("--count", type=int, default=2000, help="photographs, repeated if need be")
    parser.add_argument("--size", type=int, default=256, help="shorter side, pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32, help="waits: images of a batch")
    parser.add_argument("--crop", type=int, default=224, help="waits: side, pixels")
    parser.add_argument("--step", type=float, default=0.1, help="waits: seconds of a step")
    parser.add_argument("--steps", type=int, default=200, help="waits: how many")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 1, 2], help="waits: processes"
    )
    given = parser.parse_args()
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = repeated(photographs(given.images, folder / "images", given.count), given.count)
        project = make_project(folder / "project", paths)
        write_store(project, Settings.model_validate({"preprocess": {"size": given.size}}))
        if given.what == "ways":
            ways(given, project, paths, folder)
        else:
            waits(given, project)


if __name__ == "__main__":
    main()
