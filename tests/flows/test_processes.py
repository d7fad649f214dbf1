import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chromaflow.project.paths import Project
from flows.processes import StepFailedError, run

ROOT = Path(__file__).parents[2]

# A step that writes its number, starts a child in its group, and waits.
STEP = (
    "import os, pathlib, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
    "path = pathlib.Path('numbers.part')\n"
    "path.write_text(f'{os.getpid()} {child.pid}')\n"
    "path.rename('numbers')\n"
    "time.sleep(3600)\n"
)
FLOW = (
    "import signal, sys\n"
    # Whatever runs in the background of a shell is born deaf to it.
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    f"sys.path.insert(0, {str(ROOT)!r})\n"
    "from pathlib import Path\n"
    "from chromaflow.project.paths import Project\n"
    "from flows.processes import run\n"
    f"run(Project(Path.cwd()), 'step', [sys.executable, '-c', {STEP!r}])\n"
)


def ended(number: int) -> bool:
    """Whether a process is gone, or only waits to be buried by whoever adopted it."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)


def test_output_is_given_where_it_is_captured(project: Project) -> None:
    assert run(project, "step", [sys.executable, "-c", "print('done')"], capture=True) == "done\n"


def test_a_failed_step_tells_its_exit_code_and_its_last_words(project: Project) -> None:
    program = "import sys; print('error: no such photograph', file=sys.stderr); sys.exit(75)"
    with pytest.raises(StepFailedError, match="no such photograph") as caught:
        run(project, "validate", [sys.executable, "-c", program])
    assert caught.value.exit_code == 75
    assert "validate ended with exit code 75" in str(caught.value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_step_ends_with_its_flow_however_that_ends(number: int, tmp_path: Path) -> None:
    flow = subprocess.Popen([sys.executable, "-c", FLOW], cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "numbers").is_file)
    os.kill(flow.pid, number)
    flow.wait()
    for process in map(int, (tmp_path / "numbers").read_text().split()):
        wait_until(functools.partial(ended, process))
