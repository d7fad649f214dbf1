"""Trainings of the tests: other settings, what they write, and what disturbs them."""

import os
import signal
from collections.abc import Callable

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback

from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings


def change(settings: Settings, **training: object) -> Settings:
    """Other settings of training, and a checkpoint before every step."""
    groups = {
        "training": settings.training.model_copy(update=training),
        "runtime": settings.runtime.model_copy(update={"checkpoint_every": 0.0}),
    }
    return settings.model_copy(update=groups)


def outputs(project: Project) -> str:
    return files.digest_of_folder(project.candidate) + files.digest_of_folder(
        project.training_report
    )


class At(Callback):
    """Does something at the end of a step."""

    def __init__(self, step: int, action: Callable[[], object]) -> None:
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            self.action()


class FailureError(Exception):
    """Of the test's own."""


def fail() -> None:
    raise FailureError


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)
