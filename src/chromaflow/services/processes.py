"""Identify processes reliably, so that only what was started here is ever stopped."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process, which a later process of the same number is never taken for.

    Args:
        pid: Its number.
        birth: When it started, as the system reports it.
    """

    pid: int
    birth: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that ended and was not yet collected does not."""
        return birth_of(self.pid) == self.birth


def birth_of(pid: int) -> str | None:
    """When a process started, to the clock tick where reported; None where none runs."""
    if PROC.is_dir():
        state = _read_stat(pid)
        if state is None or state[0] in "ZX":
            return None
        # Ticks count from the start of the machine, which the identifier distinguishes.
        return f"{_boot()} {state[19]}"
    line = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip()
    return line.split(maxsplit=1)[1] if line and not line.startswith("Z") else None


def _read_stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may itself hold blanks and brackets."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _ps(*arguments: str) -> str:
    result = subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False)
    return result.stdout


def group_of(leader: int) -> list[Process]:
    """The running processes of a process group, the leader first."""
    if PROC.is_dir():
        numbers = [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]
        states = {number: _read_stat(number) for number in numbers}
        members = [pid for pid, state in states.items() if state and int(state[2]) == leader]
    else:
        rows = (line.split() for line in _ps("-axo", "pid=,pgid=").splitlines())
        members = [int(pid) for pid, group in rows if int(group) == leader]
    members.sort(key=lambda pid: (pid != leader, pid))
    births = ((pid, birth_of(pid)) for pid in members)
    return [Process(pid, birth) for pid, birth in births if birth is not None]


def end(processes: Sequence[Process], grace: float) -> bool:
    """End processes, the first of which leads their group: first politely, after a while for good.

    A process that is no longer the recorded one is left alone. A leader that still runs takes its
    whole group along, also members that nobody recorded.

    Args:
        processes: The leader, then what was seen of its group.
        grace: Seconds to wait between SIGTERM and SIGKILL.

    Returns:
        Whether any of them was running.
    """
    if not any(process.alive for process in processes):
        return False
    if processes[0].alive:
        processes = group_of(processes[0].pid) or processes
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        _signal(processes, number)
        deadline = time.monotonic() + patience
        while any(process.alive for process in processes) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not any(process.alive for process in processes):
            break
    with contextlib.suppress(ChildProcessError):
        os.waitpid(processes[0].pid, os.WNOHANG)
    return True


def _signal(processes: Sequence[Process], number: signal.Signals) -> None:
    leader = processes[0]
    with contextlib.suppress(ProcessLookupError):
        if leader.alive:
            os.killpg(leader.pid, number)
            return
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            if process.alive:
                os.kill(process.pid, number)


def describe_listener(port: int) -> str:
    """Which process listens on a TCP port, such as "process 123 (python)"; empty where unknown."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    if not sockets:
        return ""
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (folder / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in sockets:
                        name = (folder / "comm").read_text(encoding="utf-8").strip()
                        return f"process {folder.name} ({name})"
    return ""


def _listening(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen on a port, from the system's tables of TCP."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
