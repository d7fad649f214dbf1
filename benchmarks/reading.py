"""Lab shards back into memory, in one process, against the ways without shards.

    python benchmarks/reading.py --images FOLDER

The shards are those that the real `chromaflow preprocess` writes. Against them: the same pixels as
one .npy file each, and the photographs decoded anew in every epoch by the same code that fills the
shards. Files are in the page cache in all cases.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from preprocess import machine, make_project, photographs

from chromaflow.settings import Settings
from chromaflow.store.decode import photograph_to_lab
from chromaflow.store.read import LabShards, read_split
from chromaflow.store.write import preprocess


def rate(images: Iterable[np.ndarray]) -> float:
    """Images a second; some of the pixels of each are summed."""
    start = time.perf_counter()
    count = sum(1 for image in images if image[::8, ::8].sum() >= 0)
    return count / (time.perf_counter() - start)


def ways(
    folder: Path, paths: list[Path], size: int
) -> dict[str, Callable[[], Iterable[np.ndarray]]]:
    """How to read the same images, by name."""
    project = make_project(folder / "project", paths)
    preprocess(project, Settings.model_validate({"preprocess": {"size": size}}))
    train = project.lab / "train"
    for identifier, lab in read_split(train):
        np.save(folder / f"{identifier}.npy", lab)
    singles = sorted(folder.glob("*.npy"))
    shards = LabShards(train)
    order = np.random.default_rng(0).permutation(shards.images)
    few = paths[:100]
    return {
        "decoding the photographs anew": lambda: (
            photograph_to_lab(path.read_bytes(), size, 10**9) for path in few
        ),
        "one .npy file an image, shuffled": lambda: (np.load(singles[i]) for i in order),
        "shards, stored order": lambda: (lab for _, lab in read_split(train)),
        "shards, random access": lambda: (shards[i]["lab"] for i in order),
        "shards, shuffled stream": lambda: (item["lab"] for item in LabShards(train, shuffle=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=Path, help="folder of JPEG files (default: scikit-image's)"
    )
    parser.add_argument("--count", type=int, default=1000, help="photographs, at most")
    parser.add_argument("--size", type=int, default=256, help="shorter side, pixels")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = photographs(given.images, folder / "images", given.count)
        compared = ways(folder, paths, given.size)
        rates: dict[str, list[float]] = {name: [] for name in compared}
        for _ in range(given.repeats):
            for name, images in compared.items():
                rates[name].append(rate(images()))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    baseline = medians["decoding the photographs anew"]
    print(f"{machine()}\n")
    print(f"{len(paths)} images of {given.size} pixels, one process, median of {given.repeats}\n")
    print("| way | images/s | ratio |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:,.0f} | {median / baseline:.1f}× |")


if __name__ == "__main__":
    main()
