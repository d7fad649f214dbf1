"""What it costs that threads of torch spin while they wait, alone and beside other processes.

    python benchmarks/waiting.py [--photographs 20] [--steps 30] [--repeats 3] [--threads 2]

Coloring photographs and steps of training by the default network, untrained: as torch has its
threads wait where nothing is said, and as chromaflow has them wait (OMP_WAIT_POLICY=PASSIVE). Each
run is a process of its own, for the variable is read when torch is loaded; the ways take turns.
"Beside others" are as many processes as there are cores, each of which computes without an end.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Before chromaflow, which would choose for it.
import torch  # isort: skip

from pytorch_lightning.callbacks import Callback

from chromaflow.colorize.batch import colorize_many
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training.fit import train
from common.machine import cores, machine, measured_in_a_process
from common.models import WARM, untrained_predictor, write_shards
from common.photographs import photographs

POLICY = "OMP_WAIT_POLICY"
WAYS: dict[str, dict[str, str]] = {"spinning": {}, "sleeping": {POLICY: "PASSIVE"}}
# It ends with the process that started it, however that one ends.
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(10**6))"
WARM_PHOTOGRAPHS = 2


class Clock(Callback):
    """Counts photographs or steps, and the time of those that come after the first ones."""

    def __init__(self, warm: int) -> None:
        self.left, self.count = warm, 0
        self.begun = self.ended = (0.0, 0.0)

    def advance(self, _: int = 1) -> None:
        """Count one."""
        times = time.perf_counter(), time.process_time()
        if self.left > 0:
            self.left -= 1
            self.begun = times
        else:
            self.count += 1
            self.ended = times

    def on_train_batch_end(self, *_: object) -> None:
        """Count a step."""
        self.advance()

    def one(self) -> dict[str, float]:
        """Seconds that one takes, by the clock and of the processor."""
        names = ("seconds", "processor")
        pairs = zip(names, self.begun, self.ended, strict=True)
        return {name: (ended - begun) / self.count for name, begun, ended in pairs}


def color(given: argparse.Namespace, folder: Path) -> Clock:
    clock = Clock(WARM_PHOTOGRAPHS)
    torch.set_num_threads(given.threads)
    predictor = untrained_predictor()
    paths = photographs(None, folder / "images", WARM_PHOTOGRAPHS + given.photographs)
    shown = contextlib.nullcontext(clock.advance)
    colorize_many(predictor, paths, folder / "colored", progress=lambda *_: shown)
    return clock


def learn(given: argparse.Namespace, folder: Path) -> Clock:
    clock, project = Clock(WARM), Project(folder)
    write_shards(project)
    chosen = {"accelerator": "cpu", "steps": WARM + given.steps, "threads": given.threads}
    train(project, Settings.model_validate({"training": chosen}), callbacks=[clock])
    return clock


WORK: dict[str, Callable[[argparse.Namespace, Path], Clock]] = {
    "coloring a photograph": color,
    "a step of training": learn,
}


@contextlib.contextmanager
def others(count: int) -> Iterator[None]:
    """Processes that compute while the block runs."""
    command = [sys.executable, "-c", BUSY, str(os.getpid())]
    started = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def run_apart(work: str, way: str, given: argparse.Namespace) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != POLICY}
    environment |= WAYS[way] | {"OMP_NUM_THREADS": str(given.threads)}
    return measured_in_a_process([*sys.argv, "--measure", work], environment)


def row(work: str, beside: int, given: argparse.Namespace) -> str:
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with others(beside):
        for _ in range(given.repeats):
            for way, found in runs.items():
                found.append(run_apart(work, way, given))
    seconds, processor = (
        [statistics.median(run[name] for run in found) for found in runs.values()]
        for name in ("seconds", "processor")
    )
    figures = [f"{1000 * value:.0f}" for value in (*seconds, *processor)]
    figures.insert(2, f"{seconds[0] / seconds[1]:.2f}×")
    return f"| {work} | {f'{beside} others' if beside else 'alone'} | {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name, default in (("photographs", 20), ("steps", 30), ("repeats", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--measure", choices=WORK, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(WORK[given.measure](given, Path(folder)).one()))
        return
    print(f"{machine()}, torch {torch.__version__}, {given.threads} threads\n")
    print("| work | | spinning, ms | sleeping, ms | ratio | processor, ms | and sleeping, ms |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for work in WORK:
        for beside in (0, cores()):
            print(row(work, beside, given), flush=True)


if __name__ == "__main__":
    main()
