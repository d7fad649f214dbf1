"""What refinements and upsamplings do to predicted color, and what they cost, as Markdown tables.

A refinement works at the size of the network: it is measured on the held-out images of Lab shards,
over what the model predicts. An upsampling brings small color to full size: it is measured on
photographs of scikit-image, of which it gets what the model predicts, and for its own loss the true
color, shrunk.

    python benchmarks/refining.py --model FOLDER [--lab data/lab/test] [--threads 2]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from skimage import data
from torch import Tensor

from chromaflow.color.lab import join, lab_to_rgb, rgb_to_lab
from chromaflow.colorize.predictor import ColorOptions, Predictor, shrunk
from chromaflow.colorize.upsampling import UPSAMPLINGS, find_upsampling
from chromaflow.evaluation.measure import measure
from chromaflow.metrics.catalog import METRICS
from chromaflow.metrics.delta_e import delta_e_2000
from chromaflow.metrics.psnr import psnr
from chromaflow.refine import REFINEMENTS, refine
from chromaflow.settings.system import SIZE

# Refinements differ by less than pages show.
DECIMALS = {"auc_rebalanced": 2, "auc": 2, "delta_e_2000": 2, "psnr": 2, "colorfulness": 1}
OPTIONS = ColorOptions(size=SIZE, refine="none")
PHOTOGRAPHS = (data.astronaut, data.coffee, data.chelsea, data.rocket, data.cat)


class Timed:
    """A function of lightness and ab that notes how long it takes, ms an image."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], predictor: Predictor) -> None:
        self._function, self._model = function, predictor.model
        self.times: list[float] = []

    def __call__(self, lightness: Tensor) -> Tensor:
        """Predict, then refine."""
        ab = self._model.predict_ab(lightness, refine="none")
        start = time.perf_counter()
        refined = self._function(lightness, ab)
        self.times.append(1000 * (time.perf_counter() - start) / len(ab))
        return refined


def refinements(predictor: Predictor, lab: Path) -> None:
    """Print the table of refinements."""
    systems = {name: Timed(partial(refine, name), predictor) for name in REFINEMENTS}
    measured = measure(systems, lab, SIZE)
    labels = " | ".join(METRICS[name].label for name in DECIMALS)
    print(f"| refinement | {labels} | ms |\n|---|{'---:|' * (len(DECIMALS) + 1)}")
    for name, system in systems.items():
        values = [f"{measured[name].mean(key):.{digits}f}" for key, digits in DECIMALS.items()]
        print(f"| {name} | {' | '.join(values)} | {statistics.median(system.times):.1f} |")


def upsamplings(predictor: Predictor) -> None:
    """Print the table of upsamplings."""
    print("\n| upsampling | color | PSNR | ΔE 2000 | ms a megapixel |\n|---|---|---:|---:|---:|")
    for source in ("predicted", "true, shrunk"):
        for name in UPSAMPLINGS:
            rows = [one(predictor, photograph(), source, name) for photograph in PHOTOGRAPHS]
            ratio, difference, cost = (
                statistics.mean(column) for column in zip(*rows, strict=True)
            )
            print(f"| {name} | {source} | {ratio:.2f} | {difference:.2f} | {cost:.0f} |")


def one(
    predictor: Predictor, photograph: np.ndarray, source: str, upsampling: str
) -> tuple[float, float, float]:
    """PSNR, mean ΔE 2000 and milliseconds a megapixel of a photograph, uint8 (H, W, 3)."""
    lab = rgb_to_lab(torch.from_numpy(photograph).permute(2, 0, 1)[None] / 255)
    lightness = lab[0, 0].numpy()
    grey = (lab_to_rgb(join(lab[:, :1], torch.zeros_like(lab[:, 1:])))[0, 0] * 255).round()
    if source == "predicted":
        color = predictor.predict_small(grey.byte().numpy(), OPTIONS)
    else:
        color = np.stack([shrunk(plane, SIZE) for plane in lab[0, 1:].numpy()])
    start = time.perf_counter()
    whole = find_upsampling(upsampling)(color, shrunk(lightness, SIZE), *lightness.shape)
    ab = torch.from_numpy(whole.rows(0, lightness))[None]
    spent = 1000 * (time.perf_counter() - start)
    rgb, true = lab_to_rgb(join(lab[:, :1], ab)), lab_to_rgb(lab)
    difference = delta_e_2000(rgb_to_lab(rgb), rgb_to_lab(true))
    return float(psnr(rgb, true)), float(difference), spent / (lightness.size / 1e6)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--lab", type=Path, default=Path("data/lab/test"))
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    predictor = Predictor.load(chosen.model, "cpu")
    refinements(predictor, chosen.lab)
    with torch.inference_mode():
        upsamplings(predictor)


if __name__ == "__main__":
    main()
