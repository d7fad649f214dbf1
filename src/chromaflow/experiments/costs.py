"""What a model costs: parameters, operations, time and memory of coloring one image."""

import copy
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from chromaflow.errors import UserError
from chromaflow.models import Colorizer
from chromaflow.models.model_folder import load_model

SIDE = 256
"""Of the image that costs are measured on, pixels."""


@dataclass(frozen=True)
class Costs:
    """What coloring one image of 256×256 costs on the CPU.

    Attributes:
        parameters: Of the network.
        gigaflops: Multiplications and additions, each counted, in 10⁹.
        milliseconds: Median of several runs, with the threads of the settings.
        megabytes: Peak of the whole process over what it held with the model loaded, 10⁶ bytes.
    """

    parameters: int
    gigaflops: float
    milliseconds: float
    megabytes: float


def count_flops(model: Colorizer, side: int = SIDE) -> float:
    """Multiplications and additions of coloring one square image, each counted.

    Args:
        model: In evaluation mode.
        side: Of the image, pixels.
    """
    # The counter hangs hooks on whatever a module gets that learns, such as the queries of DDColor.
    resting = copy.deepcopy(model).requires_grad_(requires_grad=False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        resting.predict_ab(torch.rand(1, 1, side, side) * 100)
    return float(counter.get_total_flops())


def _memory(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at its peak."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


def measure_here(folder: Path, threads: int, repeats: int = 7) -> Costs:
    """The costs of a model folder, measured in this process; its peak must be that of the model."""
    torch.set_num_threads(threads)
    model = load_model(folder)
    lightness = torch.rand(1, 1, SIDE, SIDE, generator=torch.manual_seed(0)) * 100
    before, times = _memory("VmRSS"), []
    with torch.inference_mode():
        for _ in range(repeats):
            begun = time.perf_counter()
            model.predict_ab(lightness)
            times.append(time.perf_counter() - begun)
    peak = _memory("VmHWM")
    return Costs(
        parameters=sum(p.numel() for p in model.network.parameters()),
        gigaflops=count_flops(model) / 1e9,
        milliseconds=1000 * statistics.median(times),
        megabytes=max(0, peak - before) / 1e6,
    )


def measure_costs(folder: Path, threads: int) -> Costs:
    """The costs of a model folder, measured in a process of its own.

    Args:
        folder: Of the model.
        threads: Of the CPU.

    Raises:
        UserError: The process failed, such as for lack of memory.
    """
    command = [sys.executable, "-m", __name__, str(folder), str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"the costs of {folder} cannot be measured: {last}")
    return Costs(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    measured = measure_here(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")
