"""Steps run as processes of their own, which end when the flow ends, however it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from chromaflow.project import dvc
from chromaflow.project.addresses import public_address
from chromaflow.project.paths import Project
from chromaflow.provenance.facts import FlowFacts

_GRACE_SECONDS = 30.0
_GUARD = Path(__file__).with_name("guard.py")


class StepFailedError(Exception):
    """A step ended with an error.

    Args:
        name: The step.
        exit_code: Of its process.
        message: The end of what it wrote to standard error.
    """

    def __init__(self, name: str, exit_code: int, message: str) -> None:
        self.exit_code = exit_code
        super().__init__(f"{name} ended with exit code {exit_code}\n{message}".strip())


def _signal_group(process: subprocess.Popen[str], number: int) -> bool:
    """Whether there still was somebody to signal; the leader may end before its children."""
    process.poll()
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def _ended_with(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the process group when the block is left early: by an error, Ctrl-C or a cancelled flow.

    A cancelled flow leaves the children of its tasks alive unless somebody passes the signal on;
    Prefect turns SIGTERM into an exception in the main thread, which leaves this block.
    """
    try:
        yield
    finally:
        deadline = time.monotonic() + _GRACE_SECONDS
        # What a step that came to its own end left in its group is its own business.
        alive = process.poll() is None and _signal_group(process, signal.SIGTERM)
        while alive and time.monotonic() < deadline:
            time.sleep(0.05)
            alive = _signal_group(process, 0)
        if alive:
            _signal_group(process, signal.SIGKILL)
        process.wait()


@contextmanager
def _guarded(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the process group even when this process is killed and can end nothing itself."""
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_GUARD), str(process.pid), str(_GRACE_SECONDS)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.kill()
        guard.communicate()


def _copy_errors(process: subprocess.Popen[str], kept: deque[str]) -> None:
    for line in process.stderr or ():
        sys.stderr.write(line)
        kept.append(line)


def _this_flow() -> FlowFacts:
    """The flow run that this process works for; none outside a flow."""
    run = str(flow_run.id or "")
    if not run:
        return FlowFacts()
    # A flow of its own temporary server has no pages: see chromaflow.services.prefect.
    page = url_for("flow-run", obj_id=run) or "none: the server ended with the flow run"
    return FlowFacts(run, public_address(page))


def run(project: Project, name: str, arguments: Sequence[str], *, capture: bool = False) -> str:
    """Run one step in a process group of its own and wait for it.

    On a terminal the step draws its own progress; elsewhere its errors are kept as well, for the
    state that the flow reports.

    Args:
        project: The checkout in which it runs.
        name: The step, for the error.
        arguments: The program and its arguments.
        capture: Whether to return its standard output instead of showing it.

    Returns:
        Its standard output where captured.

    Raises:
        StepFailedError: It ended with another exit code than 0.
    """
    process = subprocess.Popen(
        arguments,
        cwd=project.root,
        env=dvc.environment() | _this_flow().to_environment(),
        stdout=subprocess.PIPE if capture else None,
        stderr=None if sys.stderr.isatty() else subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    errors: deque[str] = deque(maxlen=20)
    reader = threading.Thread(target=_copy_errors, args=(process, errors), daemon=True)
    with _guarded(process), _ended_with(process):
        reader.start()
        output = process.stdout.read() if process.stdout else ""
        process.wait()
        reader.join()
    if process.returncode != 0:
        raise StepFailedError(name, process.returncode, "".join(errors))
    return output


def run_command(project: Project, name: str) -> dict[str, Any]:
    """Run `chromaflow NAME --json` and give its result."""
    arguments = [sys.executable, "-m", "chromaflow", name, "--json"]
    result: dict[str, Any] = json.loads(run(project, name, arguments, capture=True))
    return result


def run_stage(project: Project, name: str) -> None:
    """Bring one DVC stage up to date."""
    run(project, name, dvc.terse_command("repro", "--single-item", name))
