"""The training step: Lab shards in, a model folder and its curves out."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.loggers import Logger

import chromaflow
from chromaflow.data.store.read import INDEX, LABELS, read_labels
from chromaflow.errors import DataError, SettingsError
from chromaflow.models import Colorizer, build_model
from chromaflow.models.backbones.timm import NONE
from chromaflow.models.model_folder import model_digest, save_model
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings, Training, with_absolute_weights
from chromaflow.settings.networks import PretrainedNetwork
from chromaflow.training import result_cache
from chromaflow.training.callbacks.checkpoints import Checkpoints
from chromaflow.training.callbacks.curves import Curves
from chromaflow.training.callbacks.progress import ProgressBar
from chromaflow.training.checkpoints import disk_error, readable
from chromaflow.training.data.module import LabData
from chromaflow.training.module import ColorizerTraining
from chromaflow.training.optimizers import initialize
from chromaflow.training.trainer import (
    build_trainer,
    explain_memory_errors,
    quiet_and_deterministic,
)

CODE = (
    "color",
    "data/__init__.py",
    "data/store/__init__.py",
    "data/store/mirror.py",
    "data/store/read.py",
    "metrics/__init__.py",
    "metrics/base.py",
    "metrics/colorfulness.py",
    "models",
    "project/__init__.py",
    "project/files.py",
    "project/splits.py",
    "refine",
    "training",
)
"""Files and folders below the package that decide the weights: those of the stage `train` in
`dvc.yaml`, to which tests/test_stage_dependencies.py compares them."""


def fingerprint(project: Project, settings: Settings) -> str:
    """What decides the weights, in 64 hexadecimal digits: a checkpoint of another is never used.

    The settings of model and training, the seed, the shards, the code, and torch's version; and the
    labels where the loss "scene" looks at them. The shards are known by their index, whose names of
    chunks are digests of what they hold.

    Raises:
        DataError: `data/lab` is missing or not complete.
    """
    digest = hashlib.sha256()
    decisive = {
        "versions": [chromaflow.__version__, torch.__version__, np.__version__],
        "seed": settings.seed,
        "model": settings.model.model_dump(),
        "training": settings.training.model_dump(),
    }
    digest.update(json.dumps(decisive, sort_keys=True).encode())
    read = (INDEX, LABELS) if "scene" in settings.training.losses else (INDEX,)
    needed = [_histogram_file(project), *(project.lab / "train" / name for name in read)]
    others = (project.lab / "validation" / name for name in read)
    for path in (*_code(), *needed, *filter(Path.is_file, others)):
        try:
            digest.update(f"{path.name} {files.sha256_of(path)}\n".encode())
        except OSError as error:
            raise DataError(
                f"{path} cannot be read: {error.strerror}.", "run chromaflow preprocess"
            ) from None
    return digest.hexdigest()


def _code() -> list[Path]:
    places = [Path(chromaflow.__file__).parent / name for name in CODE]
    files_of = (sorted(place.rglob("*.py")) if place.is_dir() else [place] for place in places)
    return [path for paths in files_of for path in paths]


def _histogram_file(project: Project) -> Path:
    return project.lab / "ab_histogram.npy"


def _build(project: Project, settings: Settings) -> Colorizer:
    path = _histogram_file(project)
    try:
        histogram = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}", "run chromaflow preprocess") from None
    labeled = "scene" in settings.training.losses
    model = build_model(
        settings.model,
        histogram=histogram,
        scenes=len(read_labels(project.lab / "train").names) if labeled else 0,
    )
    initialize(model.network, settings.training.initialization)
    return model


def train(
    project: Project,
    settings: Settings,
    *,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[Callback] = (),
    known_fingerprint: str = "",
) -> dict[str, Any]:
    """Train, and write `models/candidate` and `reports/training`.

    Killed at any moment, the next call resumes from the last checkpoint and ends with the same
    bytes; after the end, it gives the result again until `result_cache.forget` is called. The same
    settings, shards, code and versions give the same weights on the CPU, bit for bit. With
    `training.devices` above one, Lightning starts the command line again for each further device,
    so call this from a command of its own; those further processes end here.

    Args:
        project: The checkout; `data/lab` is read.
        settings: Its `seed`, `model` and `training` decide the weights, `runtime` does not.
        loggers: Of Lightning; they get the rows of `curves.csv`, and the speed.
        callbacks: Of Lightning, such as `chromaflow.training.callbacks.pictures.Pictures`.
        known_fingerprint: What `fingerprint` gave for the same project and settings; empty where
            it has yet to be computed.

    Returns:
        What stands in `reports/training/summary.json`, and besides `fingerprint` and
        `resumed_from`, the step of the checkpoint it went on from (0 where there was none).

    Raises:
        DataError: The shards are missing or broken.
        ModelError: Network, codebook or published weights that cannot be.
        SettingsError: A loss that does not fit the codebook, a crop that the images or the network
            do not allow, a GPU that is not there.
        TrainingStoppedError: The loss is no longer a number, or the memory is spent.
        TrainingInterruptedError: A signal asked to stop.
        UserError: The disk is full.
    """
    own_fingerprint = known_fingerprint or fingerprint(project, settings)
    if (kept := result_cache.restore(project, own_fingerprint)) is not None:
        return {**kept, "fingerprint": own_fingerprint, "resumed_from": kept["steps"]}
    settings = with_absolute_weights(project, settings)
    checkpoints = Checkpoints(
        project.checkpoints / own_fingerprint / "last.ckpt", settings.runtime.checkpoint_every
    )
    curves, training = Curves(), settings.training
    with quiet_and_deterministic(training.threads):
        torch.manual_seed(settings.seed)
        data = LabData(project, settings)
        validates = data.center_crops is not None
        module = _module(project, settings)
        own = [
            curves,
            checkpoints,
            ProgressBar(),
            *_patience(training.patience if validates else 0),
        ]
        trainer = build_trainer(training, loggers, [*own, *callbacks], validates=validates)
        resumed = checkpoints.path if readable(checkpoints.path) else None
        with explain_memory_errors(settings):
            trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
    summary = {
        **_counts(trainer, module, training),
        "images": data.images,
        **{name: curves.last(name) for name in Curves.COLUMNS[1:]},
    }
    if not trainer.is_global_zero:
        # Rank zero writes and continues; what follows in the command line is its business alone.
        raise SystemExit(0)
    summary["digest"] = _write(project, own_fingerprint, module.averaged, curves, summary)
    return {**summary, "fingerprint": own_fingerprint, "resumed_from": checkpoints.resumed_from}


def _counts(trainer: Trainer, module: ColorizerTraining, training: Training) -> dict[str, Any]:
    """What the training took and what it trained, in numbers."""
    steps = trainer.global_step
    return {
        "steps": steps,
        "stopped_early": steps < training.steps,
        "crops": steps * training.accumulate * training.batch * trainer.world_size,
        "parameters": sum(p.numel() for p in module.model.network.parameters()),
    }


def _module(project: Project, settings: Settings) -> ColorizerTraining:
    """The model to train, newly built."""
    model, training, network = _build(project, settings), settings.training, settings.model.network
    if training.crop % model.multiple:
        raise SettingsError(
            f"training.crop = {training.crop} is not a multiple of {model.multiple}.",
            f"set training.crop={training.crop // model.multiple * model.multiple}",
        )
    pretrained = isinstance(network, PretrainedNetwork) and network.weights != NONE
    return ColorizerTraining(model, training, seed=settings.seed, pretrained=pretrained)


def _patience(validations: int) -> list[Callback]:
    if not validations:
        return []
    return [EarlyStopping("validation_loss", patience=validations, check_on_train_epoch_end=False)]


def _write(
    project: Project,
    own_fingerprint: str,
    model: Colorizer,
    curves: Curves,
    summary: dict[str, Any],
) -> str:
    """Write the model folder and the reports, and keep them; the digest of the model folder."""
    try:
        save_model(model, project.candidate)
        digest = model_digest(project.candidate)
        files.write_text(project.training_report / "curves.csv", curves.to_csv())
        files.write_json(project.training_report / "summary.json", {**summary, "digest": digest})
        result_cache.keep(project, own_fingerprint)
    except OSError as error:
        raise disk_error(error, f"{project.candidate} or {project.training_report}") from None
    return digest
