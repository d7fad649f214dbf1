import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from chromaflow import settings as settings_file
from chromaflow.data.store import convert, write
from chromaflow.data.store.write import write_store
from chromaflow.errors import DataError, UserError
from chromaflow.project.files import digest_of_folder
from chromaflow.settings import Settings
from tests.data.store.conftest import Accept, Snapshot


def over(processes: int, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings for so many processes, which are worth it even for small images."""
    monkeypatch.setattr(write, "_WORTH_A_PROCESS", 1)
    runtime = settings.runtime.model_copy(update={"processes": processes})
    return settings.model_copy(update={"runtime": runtime})


@pytest.mark.parametrize("table", [1, 2**62], ids=["table", "direct"])
def test_any_number_of_processes_gives_the_same_bytes(
    table: int,
    accept: Accept,
    snapshot: Snapshot,
    small: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = accept(snapshot)
    summary = write_store(project, small)
    expected = digest_of_folder(project.lab)
    project.lab.rename(tmp_path / "other")
    monkeypatch.setattr(write, "_WORTH_A_TABLE", table)
    started: list[int] = []

    def spy(
        jobs: Iterable[convert.ShardJob], options: convert.ConversionOptions, processes: int
    ) -> Generator[tuple[convert.ShardJob, list[convert.Chunks]]]:
        started.append(processes)
        return real(jobs, options, processes)

    real = convert.convert
    monkeypatch.setattr(write, "convert", spy)
    assert write_store(project, over(3, small, monkeypatch)) == summary
    assert started == [3]
    assert digest_of_folder(project.lab) == expected


def test_few_photographs_start_no_process(
    accept: Accept, snapshot: Snapshot, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "_over_processes", None)
    settings = small.model_copy(update={"runtime": Settings().runtime})
    assert write_store(accept(snapshot), settings).decoded == 21


def test_processes_tell_what_is_wrong(
    accept: Accept, snapshot: Snapshot, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = accept(snapshot)
    victim = project.raw / "sample" / "000001.tar"
    victim.unlink()
    with pytest.raises(DataError, match=r"000001\.tar is missing"):
        write_store(project, over(2, small, monkeypatch))
    accept(snapshot)
    assert write_store(project, small).images["train"] == 15


def test_a_process_that_was_killed_is_told(
    accept: Accept,
    snapshot: Snapshot,
    small: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    project = accept(snapshot)
    write_store(project, small)
    expected = digest_of_folder(project.lab)
    project.lab.rename(tmp_path / "other")

    def kill(_: int) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    def progress(*_: object) -> AbstractContextManager[Callable[[int], None]]:
        kill(0)
        return contextlib.nullcontext(kill)

    with pytest.raises(UserError, match=r"runtime\.processes"):
        write_store(project, over(2, small, monkeypatch), progress)
    write_store(project, small)
    assert digest_of_folder(project.lab) == expected


PROGRAM = """
import sys
from pathlib import Path
from chromaflow import settings
from chromaflow.project.paths import Project
from chromaflow.data.store import write
if __name__ == "__main__":
    write._WORTH_A_PROCESS = 1
    project = Project(Path(sys.argv[1]))
    write.write_store(project, settings.load(project))
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_random_moments_it_goes_on(
    processes: int,
    accept: Accept,
    snapshot: Snapshot,
    small: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = accept(snapshot)
    write_store(project, small)
    expected = digest_of_folder(project.lab)
    project.lab.rename(tmp_path / "whole")
    settings_file.save(project, over(processes, small, monkeypatch))
    random = np.random.default_rng(processes)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(project.root)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(3):
        run = subprocess.Popen(command, env=environment, start_new_session=True)
        # Until the first file is there, then a little longer.
        while run.poll() is None and not list(project.lab.glob("*/*")):
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.05))
        run.kill()
        assert run.wait() in (0, -signal.SIGKILL)
        assert list(project.lab.glob("*/*"))
        # Its processes end by themselves.
        while alive_in(run.pid):
            time.sleep(0.01)
    write_store(project, small)
    assert digest_of_folder(project.lab) == expected


def alive_in(session: int) -> list[str]:
    """Processes of a session that convert photographs."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, owner = stat.read_text().rpartition(")")[2].split()[:4]
            if int(owner) == session and state != "Z":
                found.append(stat.parent.name)
    return found
