"""Trains in a process of its own, which kills itself at a moment: run by path, with globals."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback

from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training import fit as step

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

given = globals()
root: str = given["root"]
settings: Settings = given["settings"]
moment: str = given["moment"]


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer(Callback):
    def __init__(self, at: int) -> None:
        self.at = at

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.at:
            die()

    def on_validation_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == -self.at:
            die()


callbacks: list[Callback] = []
if moment == "write":
    # While a checkpoint is being written, half of its bytes are in the partial file.
    count = 0

    def half(fd: "FileDescriptorLike") -> None:
        global count  # noqa: PLW0603
        count += 1
        if count == 5:
            die()
        os_fsync(fd)

    os_fsync = os.fsync
    os.fsync = half
elif moment == "outputs":
    files.write_text = die
elif moment:
    callbacks = [Killer(int(moment))]
step.train(Project(Path(root)), settings, callbacks=callbacks)
