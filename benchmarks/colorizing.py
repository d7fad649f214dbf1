"""Seconds and peak memory of coloring photographs of 1, 12 and 48 megapixels, as a Markdown table.

Beside chromaflow stands the plain way, the whole picture in floating point through scikit-image.
Each size runs in a process of its own, so that one peak does not hide another. Colors come from the
default network, untrained: the time and the memory do not depend on the weights.

    python benchmarks/colorizing.py [--threads 2] [--repeats 3] [--formats jpg,png]
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from skimage import data
from skimage.color import lab2rgb, rgb2lab
from skimage.transform import resize

from chromaflow.colorize.photo import colorize_photo
from chromaflow.colorize.predictor import Predictor
from common.machine import measured_in_a_process, peak_memory
from common.models import untrained_predictor

SIZES = {1: (1155, 866), 12: (4000, 3000), 48: (8000, 6000)}
WAYS = ("nothing", "chromaflow", "whole image")


def write_photograph(path: Path, width: int, height: int) -> None:
    """A grey photograph of natural texture: scikit-image's astronaut, enlarged, with film grain."""
    grey = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    enlarged = cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    grain = np.random.default_rng(0).normal(0, 3, (height, width)).astype(np.int16)
    cv2.imwrite(str(path), np.clip(enlarged + grain, 0, 255).astype(np.uint8))


def color_whole_image(predictor: Predictor, source: Path, target: Path) -> None:
    """The plain way: every step on the whole picture, in floating point."""
    rgb = np.asarray(Image.open(source).convert("RGB")).astype(np.float32) / 255
    lab = rgb2lab(rgb)
    height, width = lab.shape[:2]
    scale = 256 / min(height, width)
    small = resize(lab[..., 0], (round(height * scale), round(width * scale)), anti_aliasing=True)
    with torch.inference_mode():
        lightness = torch.from_numpy(small.astype(np.float32))[None, None]
        ab = predictor.model.predict_ab(lightness)[0].numpy()
    lab[..., 1:] = resize(ab.transpose(1, 2, 0), (height, width), order=1)
    colored = Image.fromarray((lab2rgb(lab) * 255).round().astype(np.uint8))
    if target.suffix == ".jpg":
        colored.save(target, quality=95, subsampling=0)
    else:
        colored.save(target)


def measure(way: str, source: Path, threads: int, repeats: int) -> dict[str, float]:
    """Run in a process of its own: the best of several runs, and the peak of the process."""
    torch.set_num_threads(threads)
    predictor = untrained_predictor()
    target = source.with_name(f"colored{source.suffix}")
    runs = []
    for _ in range(repeats if way == "chromaflow" else 1):
        start, busy = time.perf_counter(), time.process_time()
        if way == "chromaflow":
            colorize_photo(predictor, source, target, overwrite=True)
        elif way == "whole image":
            color_whole_image(predictor, source, target)
        runs.append((time.perf_counter() - start, time.process_time() - busy))
    seconds, busy_seconds = min(runs)
    return {"seconds": seconds, "busy": busy_seconds, "peak": peak_memory()}


def run_apart(way: str, source: Path, arguments: argparse.Namespace) -> dict[str, float]:
    threads = str(arguments.threads)
    command = [__file__, "--measure", way, "--source", str(source)]
    command += ["--threads", threads, "--repeats", str(arguments.repeats)]
    return measured_in_a_process(command, os.environ | {"OMP_NUM_THREADS": threads})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--formats", default="jpg,png")
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        result = measure(arguments.measure, arguments.source, arguments.threads, arguments.repeats)
        print(json.dumps(result))
        return
    print(
        f"{platform.machine()}, {arguments.threads} threads, Python {platform.python_version()}\n"
    )
    print("| photograph | way | best, s | CPU, s | peak memory, MiB | above an idle process, MiB |")
    print("|---|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in arguments.formats.split(","):
            for megapixels, (width, height) in SIZES.items():
                source = Path(folder) / f"{megapixels}.{suffix}"
                write_photograph(source, width, height)
                idle = run_apart("nothing", source, arguments)["peak"]
                for way in WAYS[1:]:
                    result = run_apart(way, source, arguments)
                    peak, more = result["peak"] / 2**20, (result["peak"] - idle) / 2**20
                    print(
                        f"| {megapixels} MP {suffix} | {way} | {result['seconds']:.2f} "
                        f"| {result['busy']:.2f} | {peak:.0f} | {more:.0f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
