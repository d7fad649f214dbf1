"""Checkpoints of an unfinished training: whole or not there, and read without running code."""

# Lightning decides what the methods are given.
# ruff: noqa: ARG002

import errno
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO

from chromaflow.errors import ChromaflowWarning, UserError
from chromaflow.project import files

_FULL = (errno.ENOSPC, errno.EDQUOT)


def disk_error(error: OSError, what: str) -> UserError:
    """The error to raise where something of the training cannot be written."""
    reason = "the disk is full" if error.errno in _FULL else f"{error.strerror}"
    return UserError(
        f"{what} cannot be written: {reason}. The last complete checkpoint is kept.",
        "fix that and run chromaflow train again: it resumes from there",
    )


class AtomicCheckpoints(CheckpointIO):
    """How Lightning writes and reads its checkpoints here."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; the one before stays until the new one is complete and on disk.

        Raises:
            UserError: The disk is full or refuses.
        """
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            with files.atomic_file(Path(path)) as file:
                file.write(buffer.getbuffer())
        except OSError as error:
            raise disk_error(error, f"the checkpoint {path}") from None

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = "cpu",
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint."""
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def readable(path: Path) -> bool:
    """Whether there is a checkpoint to resume from; a broken one is deleted with a warning."""
    for partial in path.parent.glob(f".{path.name}.*.partial"):
        partial.unlink()
    if not path.is_file():
        return False
    try:
        AtomicCheckpoints().load_checkpoint(path)
    # Broken bytes make the unpickler raise almost anything.
    except Exception as error:
        first = str(error).partition("\n")[0]
        message = f"the checkpoint {path} cannot be read, so the training starts over: {first}"
        warnings.warn(message, ChromaflowWarning, stacklevel=2)
        path.unlink()
        return False
    return True
