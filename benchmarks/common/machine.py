"""The machine that figures are taken on, and what is measured of its processes."""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def machine() -> str:
    """One line that says where a figure was taken."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    return f"{model}, {cores()} of {os.cpu_count()} cores, Python {platform.python_version()}"


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def peak_memory() -> int:
    """Bytes. Not getrusage, whose peak a process inherits from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def rates(count: int, function: Callable[[], object]) -> tuple[float, float]:
    """Photographs a second by the clock, and a second of processor time."""
    start, worked = time.perf_counter(), _processor_time()
    function()
    return count / (time.perf_counter() - start), count / (_processor_time() - worked)


def _processor_time() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured_in_a_process(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, float]:
    """What a script prints as JSON in its last line, run in a process of its own.

    Args:
        arguments: The path of the script, and its own.
        environment: All variables of the process.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
