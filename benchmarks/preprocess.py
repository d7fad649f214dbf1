"""Photographs to Lab shards: `chromaflow preprocess` against a plain loop with scikit-image.

    python benchmarks/preprocess.py --images FOLDER

Both read the same JPEG files, bring the shorter side to the same size, convert to CIE Lab in
8 bits and write to disk; the loop writes one .npy file a photograph. Our side is the real step on
a temporary checkout: archive, SHA-256, statistics and all.
"""

import argparse
import hashlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from skimage import color, data, io, transform

from chromaflow.project import Project
from chromaflow.settings import Settings
from chromaflow.sources.shards import Member, write_shard
from chromaflow.store.read import read_split
from chromaflow.store.write import preprocess

_PHOTOGRAPHS = ("astronaut", "coffee", "rocket", "retina", "immunohistochemistry")


def machine() -> str:
    """One line that says where a figure was taken."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} of {os.cpu_count()} cores, Python {platform.python_version()}"


def photographs(images: Path | None, folder: Path, count: int) -> list[Path]:
    """JPEG files of a folder, or tiles of 500×375 cut from scikit-image's photographs."""
    if images is not None:
        found = sorted(p for p in images.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
        return found[:count]
    folder.mkdir()
    random = np.random.default_rng(0)
    sources = [getattr(data, name)() for name in _PHOTOGRAPHS]
    for number in range(count):
        photograph = sources[number % len(sources)]
        top = random.integers(photograph.shape[0] - 374)
        left = random.integers(photograph.shape[1] - 499)
        tile = photograph[top : top + 375, left : left + 500]
        Image.fromarray(tile).save(folder / f"{number:06d}.jpg", quality=95)
    return sorted(folder.iterdir())


def make_project(root: Path, paths: list[Path]) -> Project:
    """A checkout whose accepted photographs, all of them to train on, lie in one raw shard."""
    project = Project(root)
    rows, members = [], []
    for number, path in enumerate(paths):
        content = path.read_bytes()
        key = f"{number:06d}"
        digest = hashlib.sha256(content).hexdigest()
        members.append(Member(key, path.suffix.lower(), content, {"id": key, "sha256": digest}))
        rows.append({"id": key, "key": key, "sha256": digest})
        rows[-1] |= {"split": "train", "shard": "folder/000000.tar"}
    write_shard(project.raw / "folder" / "000000.tar", members)
    project.validated.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), project.validated / "manifest.parquet")
    return project


def plain_loop(paths: list[Path], folder: Path, size: int) -> None:
    for number, path in enumerate(paths):
        rgb = io.imread(path)
        if rgb.ndim == 2:
            rgb = np.stack([rgb] * 3, axis=-1)
        scale = size / min(rgb.shape[:2])
        shape = (round(rgb.shape[0] * scale), round(rgb.shape[1] * scale))
        lab = color.rgb2lab(transform.resize(rgb, shape, anti_aliasing=True))
        stored = np.rint(lab * (255 / 100, 1, 1) + (0, 128, 128))
        np.save(folder / f"{number:06d}.npy", np.clip(stored, 0, 255).astype(np.uint8))


def rates(count: int, function: Callable[[], object]) -> tuple[float, float]:
    """Photographs a second by the clock, and a second of processor time."""
    start, worked = time.perf_counter(), time.process_time()
    function()
    return count / (time.perf_counter() - start), count / (time.process_time() - worked)


def distance(project: Project, folder: Path) -> float:
    """Mean ΔE between the two results, for a sense that they are the same pictures."""
    errors = []
    for identifier, lab in read_split(project.lab / "train"):
        path = folder / f"{identifier}.npy"
        if not path.exists():
            break
        other = np.load(path).astype(np.float64)
        if other.shape == lab.shape:
            difference = (other - lab) * (100 / 255, 1, 1)
            errors.append(np.linalg.norm(difference, axis=-1).mean())
    return float(np.mean(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=Path, help="folder of JPEG files (default: scikit-image's)"
    )
    parser.add_argument("--count", type=int, default=400, help="photographs, at most")
    parser.add_argument("--baseline", type=int, default=60, help="of these for the plain loop")
    parser.add_argument("--size", type=int, default=256, help="shorter side, pixels")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    settings = Settings.model_validate({"preprocess": {"size": given.size}})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = photographs(given.images, folder / "images", given.count)
        few = paths[: given.baseline]
        ours, plain = [], []
        for repeat in range(given.repeats):
            target = folder / f"plain{repeat}"
            target.mkdir()
            plain.append(rates(len(few), partial(plain_loop, few, target, given.size)))
            project = make_project(folder / f"ours{repeat}", paths)
            ours.append(rates(len(paths), partial(preprocess, project, settings)))
        apart = distance(project, target)
    clock, core = (
        [statistics.median(rate[kind] for rate in way) for way in (plain, ours)] for kind in (0, 1)
    )
    print(f"{machine()}\n")
    print(f"{len(paths)} photographs to {given.size} pixels, median of {given.repeats}\n")
    print("| way | photographs/s | a second of one core |\n|---|---|---|")
    print(f"| loop with scikit-image | {clock[0]:.0f} | {core[0]:.0f} |")
    print(f"| chromaflow preprocess | {clock[1]:.0f} | {core[1]:.0f} |")
    print(f"| ratio | {clock[1] / clock[0]:.1f}× | {core[1] / core[0]:.1f}× |")
    print(f"\nMean ΔE between the two results: {apart:.2f}")


if __name__ == "__main__":
    main()
