"""Lightning's trainer, set up to be deterministic, resumable and quiet."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from chromaflow.errors import SettingsError, TrainingStoppedError
from chromaflow.settings import Settings, Training
from chromaflow.training.checkpoints import AtomicCheckpoints

# What torch says where batch and crop leave batch normalization too little, and where the CPU's
# memory is spent, by operating system.
_ONE_VALUE = "Expected more than 1 value per channel"
_NO_MEMORY = ("can't allocate memory", "not enough memory", "cannot allocate memory")
_LIBRARIES = ("pytorch_lightning", "lightning_fabric", "lightning.pytorch")


@contextlib.contextmanager
def quiet_and_deterministic(threads: int) -> Iterator[None]:
    """Set torch up for the same bits at every run, and the libraries not to advertise.

    Args:
        threads: Of the CPU; another number adds in another order.
    """
    before = torch.get_num_threads()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    mode = torch.get_deterministic_debug_mode()
    torch.set_num_threads(threads)
    # Deterministic algorithms would otherwise also fill all memory before it is written.
    memory.fill_uninitialized_memory = False
    levels = {name: logging.getLogger(name).level for name in _LIBRARIES}
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\b")
            yield
    finally:
        torch.set_num_threads(before)
        memory.fill_uninitialized_memory = filled
        torch.set_deterministic_debug_mode(mode)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def explain_memory_errors(settings: Settings) -> Iterator[None]:
    """Tell what helps where batch and crop are too large or too small; other errors pass.

    Args:
        settings: Its `model` and `training` decide how much is needed.

    Raises:
        TrainingStoppedError: In the place of an error of memory.
        SettingsError: In the place of batch normalization's, which one value cannot be put to.
    """
    try:
        yield
    except ValueError as error:
        if _ONE_VALUE not in str(error):
            raise
        training = settings.training
        raise SettingsError(
            f"batch normalization needs more than the one value for each channel that is left of "
            f"training.batch = {training.batch} and training.crop = {training.crop}.",
            "raise one of the two",
        ) from None
    except (RuntimeError, MemoryError) as error:
        spent = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not spent and not any(words in str(error).lower() for words in _NO_MEMORY):
            raise
        training = settings.training
        message = str(error).partition("\n")[0].rpartition("DefaultCPUAllocator: ")[2]
        message = ". ".join(message.split(". ")[:2]).rstrip(".") or "out of memory"
        raise TrainingStoppedError(
            f"the training needs more memory than is available: {message}. The last checkpoint is "
            "kept.",
            f"lower training.batch ({training.batch}; training.accumulate takes a larger one in "
            f"parts), training.crop ({training.crop}) or "
            f"model.network.width ({settings.model.network.width:g}), "
            "and run chromaflow train again",
        ) from None


def build_trainer(
    training: Training,
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
    *,
    validates: bool,
) -> pl.Trainer:
    """Lightning's trainer for these settings.

    Args:
        training: The settings.
        loggers: Of Lightning.
        callbacks: Of Lightning.
        validates: There is a validation split.

    Raises:
        SettingsError: A GPU is asked for that is not there.
    """
    if training.accelerator == "gpu" and not torch.cuda.is_available():
        raise SettingsError(
            "training.accelerator = gpu, but torch finds no GPU here.",
            "set training.accelerator=cpu or auto",
        )
    on_cpu = training.accelerator == "cpu" or not torch.cuda.is_available()
    return pl.Trainer(
        accelerator="cpu" if on_cpu else "gpu",
        devices=training.devices,
        strategy="ddp" if training.devices > 1 else "auto",
        precision=training.precision,
        max_epochs=1,
        max_steps=training.steps,
        accumulate_grad_batches=training.accumulate,
        gradient_clip_val=training.clip or None,
        # In batches of the one epoch that the whole training is.
        val_check_interval=min(training.validate_every, training.steps) * training.accumulate,
        limit_val_batches=None if validates else 0,
        num_sanity_val_steps=0,
        # On a GPU some gradients have no deterministic kernel.
        deterministic=True if on_cpu else "warn",
        logger=list(loggers),
        callbacks=list(callbacks),
        plugins=[AtomicCheckpoints()],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_autolog_hparams=False,
    )
