"""One training as one MLflow run: settings, lineage, data, metrics, pictures and how it ended.

Imports MLflow, which a machine that only trains need not have.
"""

import contextlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mlflow.client import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from PIL import Image
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from chromaflow.color.lab import join, lab_to_rgb
from chromaflow.errors import ChromaflowWarning, ServerError, TrainingInterruptedError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.provenance import run_facts
from chromaflow.provenance.facts import FlowFacts
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect, experiment_id, tracking_uri, translate_errors
from chromaflow.tracking.datasets import dataset_inputs
from chromaflow.tracking.logger import MetricLogger
from chromaflow.training.callbacks.pictures import Pictures, Show
from chromaflow.training.fit import train
from chromaflow.training.ranks import is_first_rank

_RUN_FILE = "mlflow_run.txt"
_INTERRUPTIONS: tuple[type[BaseException], ...] = (
    KeyboardInterrupt,
    SystemExit,
    TrainingInterruptedError,
)


@dataclass
class TrainingRun:
    """What the training step hands to the trainer and gets back.

    Args:
        run_id: Of MLflow; empty on the other ranks of a distributed training, which log nothing.
        loggers: For the trainer.
        callbacks: For the trainer.
        result: The summary of the training, once it came to its end.
    """

    run_id: str = ""
    loggers: list[MetricLogger] = field(default_factory=list)
    callbacks: list[Pictures] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Take the summary of a training that came to its end."""
        self.result = dict(result)


def train_as_run(
    project: Project,
    settings: Settings,
    fingerprint: str,
    *,
    name: str = "",
    parent: str = "",
    callbacks: Sequence[Callback] = (),
    stops: tuple[type[Exception], ...] = (),
) -> dict[str, Any]:
    """Train as one MLflow run.

    Args:
        project: The checkout.
        settings: Of the training.
        fingerprint: What `chromaflow.training.fit.fingerprint` gives for them.
        name: Of the run; empty names network and codebook.
        parent: Run id of the run that it belongs to, such as that of a sweep.
        callbacks: For the trainer, besides those of the run.
        stops: Exceptions of callbacks that end the training without being errors.

    Returns:
        What `chromaflow.training.fit.train` returns.

    Raises:
        ServerError: MLflow does not answer when the training starts.
        UserError: Whatever stops the training itself.
    """
    with training_run(project, settings, fingerprint, name=name, parent=parent, stops=stops) as run:
        result = train(
            project,
            settings,
            loggers=run.loggers,
            callbacks=[*run.callbacks, *callbacks],
            known_fingerprint=fingerprint,
        )
        run.finish(result)
    return result


@contextlib.contextmanager
def training_run(
    project: Project,
    settings: Settings,
    fingerprint: str,
    *,
    name: str = "",
    parent: str = "",
    stops: tuple[type[Exception], ...] = (),
) -> Iterator[TrainingRun]:
    """Open the run of a training, or open it again after a kill, and close it as the block ends.

    The run ends FINISHED where the block handed over a summary, KILLED after an interruption or one
    of `stops`, and FAILED after another error; a process that was killed leaves it RUNNING, and the
    next one resumes it, identified by the fingerprint. A server that goes away while the
    training runs costs records, never the training. The arguments are those of `train_as_run`.

    Raises:
        ServerError: MLflow does not answer when the training starts.
    """
    if not is_first_rank():
        yield TrainingRun()
        return
    client = connect(project, settings)
    with translate_errors(tracking_uri(project, settings)):
        run_id = _open(client, project, settings, fingerprint, name, parent)
        logger = MetricLogger(client, run_id, _logged_steps(client, run_id))
    pictures = Pictures(_show(client, run_id, logger), settings.runtime.pictures_every)
    run = TrainingRun(run_id, [logger], [pictures])
    status, started = "FAILED", time.monotonic()
    try:
        yield run
        status = "FINISHED" if run.result else "FAILED"
    except _INTERRUPTIONS + stops:
        status = "KILLED"
        raise
    finally:
        logger.close()
        with _warning_only(tracking_uri(project, settings)):
            _close(client, project, run, status, time.monotonic() - started)


def _open(
    client: MlflowClient,
    project: Project,
    settings: Settings,
    fingerprint: str,
    name: str,
    parent: str,
) -> str:
    """The run that a killed training left, or a new one."""
    place = project.checkpoints / fingerprint / _RUN_FILE
    earlier = place.read_text(encoding="utf-8").strip() if place.is_file() else ""
    flow = FlowFacts.from_environment()
    if earlier and _reopen(client, earlier, flow):
        return earlier
    found = run_facts.collect(project, settings, "when the training began")
    experiment = experiment_id(client, project, settings)
    name = name or f"{settings.model.network.name} {settings.model.codebook.name}"
    tags = found.facts.to_tags() | ({MLFLOW_PARENT_RUN_ID: parent} if parent else {})
    run_id = str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)
    files.write_text(place, run_id + "\n")
    parameters = run_facts.parameters(settings)
    client.log_batch(run_id, params=[Param(key, value) for key, value in parameters.items()])
    client.log_inputs(run_id, dataset_inputs(project))
    run_facts.log_files(client, run_id, found.contents)
    return run_id


def _reopen(client: MlflowClient, run_id: str, flow: FlowFacts) -> bool:
    """Whether the run is there; the flow run that resumes it is then its flow run."""
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        # Deleted, or of another database than this one.
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return False
    client.log_batch(run_id, tags=_run_tags(flow.to_tags()))
    return True


def _run_tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]


def _logged_steps(client: MlflowClient, run_id: str) -> dict[str, int]:
    names = client.get_run(run_id).data.metrics
    return {
        name: max(metric.step for metric in client.get_metric_history(run_id, name))
        for name in names
    }


def grid(lightness: Tensor, predicted: Tensor, true: Tensor) -> Image.Image:
    """Images one below the other, each grey, predicted and true from left to right.

    Args:
        lightness: (B, 1, H, W), 0..100.
        predicted: ab (B, 2, H, W), CIE units.
        true: ab of the same shape.
    """
    versions = (torch.zeros_like(true), predicted, true)
    rgb = torch.cat([lab_to_rgb(join(lightness, ab)) for ab in versions], dim=3)
    rows = torch.cat(list(rgb), dim=1).permute(1, 2, 0)
    return Image.fromarray((rows * 255).round().byte().numpy())


def _show(client: MlflowClient, run_id: str, logger: MetricLogger) -> Show:
    def show(step: int, lightness: Tensor, predicted: Tensor, true: Tensor) -> None:
        image = grid(lightness, predicted, true)
        logger.do(lambda: client.log_image(run_id, image, f"pictures/step-{step:06d}.png"))

    return show


def _close(
    client: MlflowClient, project: Project, run: TrainingRun, status: str, seconds: float
) -> None:
    if run.result:
        done = 1 - run.result["resumed_from"] / run.result["steps"]
        speed = Metric(
            "throughput", run.result["crops"] * done / seconds, int(time.time() * 1000), 0
        )
        tags = {"model_digest": run.result["digest"], "fingerprint": run.result["fingerprint"]}
        client.log_batch(run.run_id, [speed] if done else [], tags=_run_tags(tags))
        client.log_artifacts(run.run_id, str(project.training_report), "training")
    client.set_terminated(run.run_id, status)


@contextlib.contextmanager
def _warning_only(uri: str) -> Iterator[None]:
    try:
        with translate_errors(uri):
            yield
    except (ServerError, OSError) as error:
        message = f"the MLflow run was not closed: {error}"
        warnings.warn(message, ChromaflowWarning, stacklevel=2)
