"""What Lightning and our callbacks cost over a bare loop, step by step in turn.

    python benchmarks/training.py [--steps 100] [--batch 16] [--crop 128] [--threads 2]

The real `train` runs on tiles of scikit-image's photographs. After each of its steps a twin of the
network takes a bare step on the same crops: read, forward, loss, backward, clip, AdamW. Load from
elsewhere thus hits both alike, and the medians compare. Averaged weights, checks, curves, signals
and checkpoints are on our side only.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import nn

from chromaflow.color.stored import decode_stored
from chromaflow.models import Colorizer
from chromaflow.models.networks.base import Outputs
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training.data.crops import Crops
from chromaflow.training.data.module import LabData, collate
from chromaflow.training.data.order import ResumableBatchSampler
from chromaflow.training.fit import train
from chromaflow.training.losses import Step
from chromaflow.training.losses.bins import cross_entropy
from chromaflow.training.module import ColorizerTraining
from common.machine import machine
from common.models import WARM, write_shards


def bare_loop(model: Colorizer, crops: Crops, settings: Settings) -> Iterator[float]:
    """Yields after each step of the plainest loop that trains the same network."""
    training = settings.training
    backbone = list(model.network.backbone.parameters())
    known = {id(parameter) for parameter in backbone}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    rate = training.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": rest},
        {"params": backbone, "lr": rate * training.backbone_rate},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=training.weight_decay, fused=True)
    for numbers in ResumableBatchSampler(training.steps, training.batch, 0, 0, 1):
        lightness, ab = decode_stored(collate([crops[number] for number in numbers]).pixels)
        optimizer.zero_grad()
        outputs = Outputs(model(lightness), None, {})
        loss = cross_entropy(Step(model, outputs, lightness, ab))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        yield float(loss.detach())


class InTurn(Callback):
    """Takes a bare step after each of Lightning's, and the time of both."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ours: list[float] = []
        self.bare: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the twin and start the clock."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, ColorizerTraining)
        assert isinstance(data, LabData)
        twin = copy.deepcopy(pl_module.model)
        self.loop = bare_loop(twin, data.crops, self.settings)
        self.begun = time.perf_counter()

    def on_train_batch_end(self, *_: object) -> None:
        """Note the time of Lightning's step, take the bare one and note its time."""
        ended = time.perf_counter()
        self.ours.append(ended - self.begun)
        next(self.loop)
        self.begun = time.perf_counter()
        self.bare.append(self.begun - ended)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name, default in (("steps", 100), ("batch", 16), ("crop", 128), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = vars(parser.parse_args())
    settings = Settings.model_validate({"training": {"accelerator": "cpu", **chosen}})
    turns = InTurn(settings)
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        write_shards(project)
        train(project, settings, callbacks=[turns])
    ours, bare = turns.ours[WARM:], turns.bare[WARM:]
    print(f"{machine()}, torch {torch.__version__}, {chosen['threads']} threads")
    print("| loop | median of a step | crops a second |\n|---|---|---|")
    for name, times in (("chromaflow train", ours), ("bare loop", bare)):
        median = statistics.median(times)
        print(f"| {name} | {1000 * median:.1f} ms | {chosen['batch'] / median:.1f} |")
    ratio = statistics.median(own / other for own, other in zip(ours, bare, strict=True))
    cost = statistics.median(ours) / statistics.median(bare) - 1
    print(
        f"\ncost over the bare loop: {cost:.1%} by the medians, {ratio - 1:.1%} by pairs, "
        f"{sum(ours) / sum(bare) - 1:.1%} in all"
    )


if __name__ == "__main__":
    main()
