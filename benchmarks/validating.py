"""`chromaflow validate` on a large manifest, against a plain loop over the rows of a pandas table.

    python benchmarks/validating.py --images 1300000

The manifest is synthetic: a thousand labels, raw shards that are not there, some rows for each
reason to be refused, near-duplicates and copies. The step runs in a process of its own, with all
that belongs to it: Great Expectations, Data Docs, splits, quarantine. The loop asks the same of a
row and compares its hash with all before, on so few rows that it ends; its rate falls with their
number.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from common.machine import machine

_STEP = """
from pathlib import Path
import sys
from chromaflow.project.paths import Project
from chromaflow.steps.validate import validate
from chromaflow.settings import Settings
found = validate(Project(Path(sys.argv[1])), Settings())
print(found["accepted"], found["quarantined"])
"""


def hexadecimal(random: np.random.Generator, count: int, digits: int) -> pa.Array:
    """Random texts of hexadecimal digits."""
    data = np.frombuffer(random.bytes(count * digits // 2).hex().encode(), f"S{digits}")
    return pa.array(data, pa.binary()).cast(pa.string())


def manifest(images: int) -> pa.Table:
    """A raw manifest: 1% each is too small, grey or tinted, 0.1% broken, 0.2% copies, 3% near."""
    random = np.random.default_rng(0)
    decodes = random.random(images) >= 0.001
    chroma = random.gamma(4, 6, images) + 3
    chroma[random.random(images) < 0.01] = 1.0
    spread = random.gamma(4, 3, images) + 2.5
    spread[random.random(images) < 0.01] = 1.0
    free = random.uniform(0.3, 0.9, images) * chroma
    free[random.random(images) < 0.01] = 0.1
    width = random.integers(256, 1024, images)
    width[random.random(images) < 0.01] = 40
    hashes = random.integers(0, 2**64, images, dtype=np.uint64)
    near = random.integers(0, images, images * 3 // 100)
    bits = np.uint64(1) << random.integers(0, 64, len(near), dtype=np.uint64)
    hashes[random.permutation(images)[: len(near)]] = hashes[near] ^ bits
    digests = hexadecimal(random, images, 64)
    same = np.arange(images)
    copied = random.integers(0, images, images // 500)
    same[random.permutation(images)[: len(copied)]] = copied
    ids = hexadecimal(random, images, 16).sort()
    number = np.arange(images)
    shard = [f"imagenet/{n:06d}.tar" for n in range(images // 1000 + 1)]
    measured = {
        "width": pa.array(width, pa.int32(), mask=~decodes),
        "height": pa.array(random.integers(256, 1024, images), pa.int32(), mask=~decodes),
        "decodes": pa.array(decodes),
        "mean_chroma": pa.array(chroma, mask=~decodes),
        "chroma_spread": pa.array(spread, mask=~decodes),
        "mean_a": pa.array(random.normal(0, 0.3, images) * chroma, mask=~decodes),
        "mean_b": pa.array(random.normal(0, 0.3, images) * chroma, mask=~decodes),
        "luma_spread": pa.array(random.gamma(9, 2, images) + 2, mask=~decodes),
        "free_chroma": pa.array(free, mask=~decodes),
    }
    texts = [f"{value:016x}" for value in hashes.tolist()]
    return pa.table(
        {
            "id": ids,
            "source": pa.array(["imagenet"] * images),
            "url": pa.array([f"imagenet:n{n % 1000:08d}/n{n:08d}_{n % 9999}.JPEG" for n in number]),
            "label": pa.array([f"n{n % 1000:08d}" for n in number]),
            "license": pa.array(["research only"] * images),
            "sha256": digests.take(pa.array(same)),
            "bytes": pa.array(random.integers(10_000, 300_000, images)),
            **measured,
            "phash": pa.array(texts, mask=~decodes),
            "shard": pa.array(shard, pa.string()).take(
                pa.array(random.permutation(number) // 1000)
            ),
            "key": ids,
            "error": pa.array([None if good else "it is broken" for good in decodes], pa.string()),
            "split_hint": pa.nulls(images, pa.string()),
        }
    )


def plain_loop(frame: pd.DataFrame) -> int:
    """The same questions, row by row; how many rows pass."""
    quality = Settings().quality
    contents: set[str] = set()
    hashes: list[int] = []
    groups: dict[int, int] = {}
    for index, (_, row) in enumerate(frame.iterrows()):
        if not row["decodes"] or row["sha256"] in contents or row["license"] is None:
            continue
        contents.add(row["sha256"])
        sides = sorted((row["width"], row["height"]))
        strength = min(np.hypot(row["mean_chroma"], row["chroma_spread"]), 25)
        passes = (
            quality.min_side <= sides[0]
            and sides[1] <= quality.max_side
            and sides[1] / sides[0] <= quality.max_aspect
            and row["mean_chroma"] >= quality.min_chroma
            and row["chroma_spread"] >= quality.min_chroma_spread
            and row["free_chroma"] >= quality.min_free_share * strength
            and row["luma_spread"] >= quality.min_luma_spread
        )
        if not passes:
            continue
        value = int(row["phash"], 16)
        near = [old for old in hashes if (old ^ value).bit_count() <= quality.duplicate_distance]
        groups[value] = groups[near[0]] if near else index
        hashes.append(value)
    return len(hashes)


class Step(NamedTuple):
    """Wall and processor seconds and peak MiB of the step, and what it printed."""

    seconds: float
    processor: float
    peak: float
    output: str


def step(folder: Path) -> Step:
    """Run the step in a process of its own."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _STEP, str(folder)], stdout=subprocess.PIPE, text=True
    )
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the step ended with exit code {process.returncode}")
    # Linux tells KiB.
    seconds = time.perf_counter() - start
    return Step(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output.strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000, help="rows of the manifest")
    parser.add_argument("--baseline", type=int, default=3000, help="of these for the plain loop")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        project = Project(Path(temporary))
        project.raw.mkdir(parents=True)
        table = manifest(given.images)
        pq.write_table(table, project.raw / "manifest.parquet", compression="zstd")
        few = table.slice(0, given.baseline).to_pandas()
        del table
        found = [step(project.root) for _ in range(given.repeats)]
        plain = []
        for _ in range(given.repeats):
            start = time.perf_counter()
            plain_loop(few)
            plain.append(len(few) / (time.perf_counter() - start))
    seconds = statistics.median(entry.seconds for entry in found)
    processor = statistics.median(entry.processor for entry in found)
    peak = max(entry.peak for entry in found)
    accepted, refused = found[0].output.split()
    rate, baseline = given.images / seconds, statistics.median(plain)
    print(f"{machine()}\n")
    print(
        f"{given.images:,} rows: {accepted} accepted, {refused} refused; median of {given.repeats}"
    )
    print(
        f"whole process: {seconds:.1f} s, {processor:.1f} s of processor time, "
        f"at most {peak:,.0f} MiB\n"
    )
    print("| way | rows | rows/s | ratio |\n|---|---|---|---|")
    print(f"| loop over pandas rows | {len(few):,} | {baseline:,.0f} | 1× |")
    print(f"| chromaflow validate | {given.images:,} | {rate:,.0f} | {rate / baseline:.1f}× |")


if __name__ == "__main__":
    main()
