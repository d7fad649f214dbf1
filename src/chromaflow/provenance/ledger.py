"""The ledger of promotion decisions: JSON lines, each with the hash of the line before it.

A line that was changed, removed or put in breaks the chain at a line that can be named. Only a
line that ends was ever acknowledged; the torn end of a killed process is dropped.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chromaflow.errors import ModelError

_START = "0" * 64


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _complete_lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")[:-1]


def append(path: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Add an entry, on disk when this returns; processes that append at once take turns.

    Args:
        path: The ledger, such as `Project.ledger`.
        entry: What was decided; `time` (UTC) and `previous` (SHA-256 of the line before) are added.

    Returns:
        The entry as written, and `line`, the SHA-256 of its line.

    Raises:
        ModelError: The ledger was changed by someone else; nothing is added to a broken chain.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        data = file.read()
        lines = _complete_lines(data)
        _check(path, lines)
        complete = sum(len(line) + 1 for line in lines)
        if complete < len(data):
            file.truncate(complete)
        written = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **entry,
            "previous": _hash(lines[-1]) if lines else _START,
        }
        text = json.dumps(written, sort_keys=True, ensure_ascii=False, allow_nan=False)
        file.write(text.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return {**written, "line": _hash(text.encode())}


def _broken_line(lines: list[bytes]) -> int | None:
    previous = _START
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            link = entry["previous"]
        except (ValueError, KeyError, TypeError):
            return number
        if link != previous:
            return max(1, number - 1)
        previous = _hash(line)
    return None


def _check(path: Path, lines: list[bytes]) -> None:
    broken = _broken_line(lines)
    if broken is not None:
        raise ModelError(
            f"{path} was changed after it was written: the chain breaks after line {broken}.",
            f"inspect it, then move it away: mv {path} {path}.broken",
        )


def verify(path: Path) -> int | None:
    """Recompute the chain.

    Returns:
        The number (from 1) of the first line that is not what the next one vouches for, or that is
        no entry at all; None where the chain holds. The last line has no next one: the registry
        keeps the hash of the line that made a champion, see `find`.
    """
    lines = _complete_lines(path.read_bytes()) if path.is_file() else []
    return _broken_line(lines)


def find(path: Path, digest: str) -> dict[str, Any] | None:
    """The entry whose line has this SHA-256, or None."""
    lines = _complete_lines(path.read_bytes()) if path.is_file() else []
    return next((json.loads(line) for line in lines if _hash(line) == digest), None)


def read(path: Path) -> list[dict[str, Any]]:
    """All entries, the oldest first.

    Raises:
        ModelError: The chain is broken, naming the line.
    """
    lines = _complete_lines(path.read_bytes()) if path.is_file() else []
    _check(path, lines)
    return [json.loads(line) for line in lines]
