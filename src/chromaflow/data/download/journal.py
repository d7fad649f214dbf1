"""The journal of a cache of downloads: which files are complete, and how to resume others.

One JSON line a fact, appended before the file takes its name, so that a kill at any moment costs
at most the files in flight. Data is not forced to disk file by file: while the machine runs, what
a killed process wrote is there. A file from before the machine's last start is read again and
compared with the digest in the journal, once.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chromaflow.data.download import addresses
from chromaflow.errors import ServerError
from chromaflow.project import files

NAME = ".downloads.jsonl"
LOCK = ".downloads.lock"
RESUME_FROM = 256 * 2**10  # bytes; smaller parts are fetched again from the start
_COMPACT_FROM = 1000


def _boot() -> str:
    """Identifier of this start of the machine; empty where the system gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


BOOT = _boot()


@dataclass(frozen=True, slots=True)
class Finished:
    """A file that is complete.

    Args:
        path: Below the cache.
        size: Bytes.
        sha256: Of its bytes, hexadecimal.
        checksum: What the source gave and was verified; may be empty.
        boot: The start of the machine at which this was written.
    """

    path: str
    size: int
    sha256: str
    checksum: str
    boot: str = field(default_factory=lambda: BOOT)

    @property
    def certain(self) -> bool:
        """Whether its bytes cannot have been lost with the machine's power."""
        return bool(BOOT) and self.boot == BOOT


@dataclass(frozen=True, slots=True)
class Started:
    """A file of which a part may be next to its target.

    Args:
        path: Below the cache.
        origin: Digest of the address without its query.
        validator: ETag, Last-Modified or a store's key that shows whether the file there is still
            the same; may be empty.
        total: Bytes of the whole file, None where the server did not say.
        boot: The start of the machine at which this was written.
    """

    path: str
    origin: str
    validator: str
    total: int | None
    boot: str = field(default_factory=lambda: BOOT)

    def begins(self, address: str, checksum: str, size: int) -> bool:
        """Whether bytes next to the file's target are known to be its beginning.

        After a loss of power, or where the server does not distinguish versions of a file, only a
        checksum of the whole can.
        """
        sure = bool(BOOT) and self.boot == BOOT and bool(self.validator)
        return (
            self.origin == origin_of(address)
            and (sure or bool(checksum))
            and (self.total is None or size <= self.total)
        )


Fact = Finished | Started


class Journal:
    """Facts of one cache; the last one about a file holds. Made by `open_journal`.

    Args:
        cache: The folder.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._facts: dict[str, Fact] = {}
        path = cache / NAME
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for line in lines:
            self._read(line)
        self._compact(path, len(lines))
        torn = lines and not lines[-1].endswith(b"\n")
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if torn:
            os.write(self._file, b"\n")

    def _read(self, line: bytes) -> None:
        # A kill may tear the last line; its file is then checked again.
        with contextlib.suppress(ValueError, TypeError):
            values: dict[str, Any] = json.loads(line)
            fact = Finished(**values) if "sha256" in values else Started(**values)
            self._facts[fact.path] = fact

    def _compact(self, path: Path, lines: int) -> None:
        """Leave out files that have been taken out of the cache, once they are the most."""
        if lines < _COMPACT_FROM:
            return
        alive = {
            name: fact
            for name, fact in self._facts.items()
            if (self.cache / name).exists() or partial_of(self.cache / name).exists()
        }
        if len(alive) < lines / 2:
            self._facts = alive
            files.write_bytes(path, b"".join(map(_line, alive.values())))

    def finished(self, path: str) -> Finished | None:
        """What is known of a complete file."""
        fact = self._facts.get(path)
        return fact if isinstance(fact, Finished) else None

    def started(self, path: str) -> Started | None:
        """What is known of a part of a file."""
        fact = self._facts.get(path)
        return fact if isinstance(fact, Started) else None

    def note(self, fact: Fact) -> None:
        """Append a fact."""
        line = _line(fact)
        if os.write(self._file, line) < len(line):
            os.write(self._file, b"\n")  # the disk is full; this raises, or the line is void
        self._facts[fact.path] = fact

    def close(self) -> None:
        """Bring everything to disk."""
        os.fsync(self._file)
        os.close(self._file)


def _line(fact: Fact) -> bytes:
    values = {name: getattr(fact, name) for name in fact.__slots__}
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def origin_of(address: str) -> str:
    """Digest of an address without its query, which may hold a key."""
    return hashlib.sha256(addresses.shown(address).encode()).hexdigest()[:16]


def partial_of(path: Path) -> Path:
    """Where the bytes of a file lie until it is complete."""
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def open_journal(cache: Path) -> Iterator[Journal]:
    """Open the journal of a cache, which only one process can have; a killed one loses it.

    Raises:
        ServerError: Another process has it.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(
                f"another process is downloading into {cache}.", "wait until it has ended"
            ) from None
        journal = Journal(cache)
        try:
            yield journal
        finally:
            journal.close()
