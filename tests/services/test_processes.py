import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from chromaflow.services import processes
from chromaflow.services.processes import Process, birth_of, describe_listener, end, group_of

SLEEP = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(3600)"]


def start(command: list[str] = SLEEP) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.fixture(params=["proc", "ps"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "ps":
        monkeypatch.setattr(processes, "PROC", Path("/nowhere"))
    elif not processes.PROC.is_dir():
        pytest.skip("this system has no /proc")
    return str(request.param)


def test_birth_tells_a_process_for_as_long_as_it_runs(system: str) -> None:
    child = start()
    born = birth_of(child.pid)
    assert born
    assert birth_of(child.pid) == born
    assert Process(child.pid, born).alive
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert birth_of(child.pid) is None, "an ended process that was not collected does not run"
    child.wait()
    assert birth_of(child.pid) is None


def test_processes_with_one_number_are_told_apart(system: str) -> None:
    assert not Process(os.getpid(), "another time").alive


def test_a_name_with_brackets_is_read(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to(sys.executable)
    child = start([str(program), *SLEEP[1:]])
    try:
        assert birth_of(child.pid)
        assert [member.pid for member in group_of(child.pid)] == [child.pid]
    finally:
        child.kill()
        child.wait()


def test_group_is_ended_with_its_children(system: str) -> None:
    code = (
        "import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', "
        "'import time; time.sleep(3600)']); print(c.pid, flush=True); c.wait()"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    members = group_of(leader.pid)
    assert [member.pid for member in members] == [leader.pid, child]
    assert end(members[:1], grace=10), "members that nobody recorded go with their leader"
    assert not any(member.alive for member in members)
    assert not end(members, grace=10)


def test_only_the_recorded_process_is_ended() -> None:
    child = start()
    try:
        assert not end([Process(child.pid, "recycled")], grace=0.1)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_listener_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = describe_listener(listener.getsockname()[1])
    assert text.startswith(f"process {os.getpid()} (")


def test_no_listener_no_name() -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        assert describe_listener(idle.getsockname()[1]) == ""
