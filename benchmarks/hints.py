"""What hints gain: PSNR over the number of points, and with global hints, as a Markdown table.

Points stand at random places and tell the mean color of 7×7 pixels, as Zhang et al. 2017 measure
it; beside the model, the same points without one: each patch as told, the rest grey.

    python benchmarks/hints.py --model FOLDER [--lab data/lab/test] [--images 100] [--threads 2]
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from chromaflow.color.lab import join, lab_to_rgb
from chromaflow.data.store.read import read_split
from chromaflow.evaluation.measure import resize_square
from chromaflow.evaluation.strips import choose
from chromaflow.metrics.psnr import psnr
from chromaflow.models.global_hints import HISTOGRAM, SATURATION, global_hints
from chromaflow.models.model_folder import load_model
from chromaflow.models.networks.base import Hints
from chromaflow.models.networks.zhang2017 import GLOBAL_HINTS
from chromaflow.settings.system import SIZE

COUNTS = (0, 1, 2, 5, 10, 20, 50, 100, 500)
PATCH = 7

Told = Callable[[Tensor, Tensor], Hints]


def points(count: int) -> Told:
    """Hints at random places."""

    def told(lightness: Tensor, ab: Tensor) -> Hints:
        height, width = ab.shape[2:]
        means = F.avg_pool2d(ab, PATCH, stride=1)
        local = torch.zeros(1, 3, height, width)
        for _ in range(count):
            top, left = (int(torch.randint(side - PATCH + 1, ())) for side in (height, width))
            patch = local[..., top : top + PATCH, left : left + PATCH]
            patch[:, :2], patch[:, 2] = means[..., top, left, None, None], 1
        return Hints(local, lightness.new_zeros(1, GLOBAL_HINTS))

    return told


def global_hint(part: slice) -> Told:
    """One global hint."""

    def told(lightness: Tensor, ab: Tensor) -> Hints:
        known = torch.zeros(1, GLOBAL_HINTS)
        known[:, part] = global_hints(lightness, ab)[:, part]
        return Hints(torch.zeros(1, 3, *ab.shape[2:]), known)

    return told


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a folder of network zhang2017")
    parser.add_argument("--lab", type=Path, default=Path("data/lab/test"), help="Lab shards")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model)
    chosen = set(choose([name for name, _ in read_split(arguments.lab)], arguments.images))
    images = [
        resize_square(pixels, SIZE) for name, pixels in read_split(arguments.lab) if name in chosen
    ]
    ways = {f"{count} points": points(count) for count in COUNTS}
    ways |= {"histogram": global_hint(HISTOGRAM), "saturation": global_hint(SATURATION)}
    print("| told | PSNR | the hints alone |\n|---|---:|---:|")
    for name, told in ways.items():
        torch.manual_seed(0)
        found = []
        for lightness, ab in images:
            hints = told(lightness, ab)
            true = lab_to_rgb(join(lightness, ab))
            systems = (model.predict_ab(lightness, hints), hints.local[:, :2])
            found.append([psnr(lab_to_rgb(join(lightness, one)), true) for one in systems])
        means = torch.tensor(found).mean(dim=0).tolist()
        print(f"| {name} | {means[0]:.2f} | {means[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
