"""Photographs to Lab shards: `chromaflow preprocess` beside other ways, and how it grows.

    python benchmarks/preprocess.py ways --images FOLDER
    python benchmarks/preprocess.py growth --images FOLDER --scale 10 --increment 0.01

Our side is the real step on a temporary checkout: archive, SHA-256, statistics and all. The loop
with scikit-image reads the same JPEG files and writes one .npy file a photograph. Photographs are
repeated where there are fewer than `--count`.
"""

import argparse
import math
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from skimage import color, transform
from skimage.io import imread

from chromaflow.data.store.read import read_split
from chromaflow.data.store.write import write_store
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from common.machine import cores, machine, rates
from common.photographs import make_project, photographs, repeated


def plain_loop(paths: list[Path], folder: Path, size: int) -> None:
    folder.mkdir()
    for number, path in enumerate(paths):
        rgb = imread(path)
        if rgb.ndim == 2:
            rgb = np.stack([rgb] * 3, axis=-1)
        scale = size / min(rgb.shape[:2])
        shape = (round(rgb.shape[0] * scale), round(rgb.shape[1] * scale))
        lab = color.rgb2lab(transform.resize(rgb, shape, anti_aliasing=True))
        stored = np.rint(lab * (255 / 100, 1, 1) + (0, 128, 128))
        np.save(folder / f"{number:06d}.npy", np.clip(stored, 0, 255).astype(np.uint8))


def decode_alone(contents: list[bytes]) -> None:
    for content in contents:
        cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


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


def with_processes(settings: Settings, processes: int) -> Settings:
    runtime = settings.runtime.model_copy(update={"processes": processes})
    return settings.model_copy(update={"runtime": runtime})


def ways(given: argparse.Namespace, paths: list[Path], folder: Path) -> None:
    """What the step reaches beside a plain loop and decoding alone."""
    settings = Settings.model_validate({"preprocess": {"size": given.size}})
    many, few = repeated(paths, given.count), paths[: given.baseline]
    contents = [path.read_bytes() for path in paths]
    found: dict[str, list[tuple[float, float]]] = {}
    for repeat in range(given.repeats):
        target = folder / f"plain{repeat}"
        turn: dict[str, tuple[int, Callable[[], object]]] = {
            "loop with scikit-image": (len(few), partial(plain_loop, few, target, given.size)),
            "OpenCV's JPEG decoding alone": (len(paths), partial(decode_alone, contents)),
        }
        for processes in sorted({1, cores()}):
            project = make_project(folder / f"ours{repeat}-{processes}", many)
            turn[f"chromaflow preprocess, runtime.processes = {processes}"] = (
                given.count,
                partial(write_store, project, with_processes(settings, processes)),
            )
        for name, (count, function) in turn.items():
            found.setdefault(name, []).append(rates(count, function))
    loop, alone = (statistics.median(core for _, core in found[name]) for name in list(found)[:2])
    print(f"{given.count} photographs to {given.size} pixels, median of {given.repeats}\n")
    print("| way | photographs/s | a second of one core | over the loop | of decoding alone |")
    print("|---|---:|---:|---:|---:|")
    for name, turns in found.items():
        clock, core = (statistics.median(turn[kind] for turn in turns) for kind in (0, 1))
        print(f"| {name} | {clock:.0f} | {core:.0f} | {core / loop:.1f}× | {core / alone:.0%} |")
    print(f"\nMean ΔE to the loop's result: {distance(project, target):.2f}")


def seconds_and_memory(project: Project, settings: Settings) -> tuple[float, float]:
    """Of one run: seconds, and the peak memory of its largest process in MiB."""
    start = time.perf_counter()
    write_store(project, settings)
    seconds = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return seconds, max(one.ru_maxrss for one in used) / 1024


def in_a_process(project: Project, settings: Settings) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(seconds_and_memory, project, settings).result()


def growth(given: argparse.Namespace, paths: list[Path], folder: Path) -> None:
    """Many times the photographs, then a few more."""
    settings = Settings.model_validate(
        {"preprocess": {"size": given.size}, "runtime": {"processes": given.processes}}
    )
    base, many = given.count, given.count * given.scale
    added = math.ceil(given.increment * many)
    found = []
    for repeat in range(given.repeats):
        small = make_project(folder / f"small{repeat}", repeated(paths, base))
        large = make_project(folder / f"large{repeat}", repeated(paths, many))
        turns = [in_a_process(small, settings), in_a_process(large, settings)]
        make_project(large.root, repeated(paths, added), first=many)
        found.append([*turns, in_a_process(large, settings)])
    print(f"to {given.size} pixels, median of {given.repeats}\n")
    print("| photographs | seconds | ratio | peak memory |\n|---|---:|---:|---:|")
    names = (f"{base:,}", f"{many:,}", f"{added:,} more")
    seconds, memory = (
        [statistics.median(turn[row][kind] for turn in found) for row in range(3)]
        for kind in (0, 1)
    )
    bases = (seconds[0], seconds[0], seconds[1])
    for name, own, other, peak in zip(names, seconds, bases, memory, strict=True):
        ratio = f"{own / other:.1%}" if other == seconds[1] else f"{own / other:.2f}×"
        print(f"| {name} | {own:.2f} | {ratio} | {peak:.0f} MiB |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("ways", "growth"), nargs="?", default="ways")
    parser.add_argument(
        "--images", type=Path, help="folder of JPEG files (default: scikit-image's)"
    )
    parser.add_argument("--count", type=int, default=2000, help="photographs")
    parser.add_argument("--baseline", type=int, default=60, help="of these for the plain loop")
    parser.add_argument("--size", type=int, default=256, help="shorter side, pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processes", type=int, default=0, help="growth: 0 for one a core")
    parser.add_argument("--scale", type=int, default=10, help="growth: how many times as many")
    parser.add_argument("--increment", type=float, default=0.01, help="growth: share that is added")
    given = parser.parse_args()
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = photographs(given.images, folder / "images", given.count)
        {"ways": ways, "growth": growth}[given.what](given, paths, folder)


if __name__ == "__main__":
    main()
