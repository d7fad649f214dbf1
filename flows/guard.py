"""End a process group when whoever holds the other end of the standard input is gone.

Started as a program by `processes`, with the number of the group and the seconds between asking it
to end and killing it. It is killed itself when the group has ended in good order.
"""

import contextlib
import os
import signal
import sys
import time


def _signal(group: int, number: int) -> bool:
    """Whether there still was somebody to signal."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
        return True
    return False


def main() -> None:
    """Wait for the end of the standard input, then end the group."""
    group, grace = int(sys.argv[1]), float(sys.argv[2])
    os.read(0, 1)
    deadline = time.monotonic() + grace
    alive = _signal(group, signal.SIGTERM)
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        alive = _signal(group, 0)
    _signal(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
