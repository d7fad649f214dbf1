"""Registering: a version for the candidate, named by the digest of its weights."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chromaflow.errors import ServerError
from chromaflow.project.paths import Project
from chromaflow.provenance import run_facts
from chromaflow.provenance.facts import RunFacts, VersionFacts
from chromaflow.tracking.client import experiment_id, translate_errors
from chromaflow.tracking.datasets import dataset_inputs, held_out_dataset
from chromaflow.tracking.registry import artifacts
from chromaflow.tracking.registry.candidate import read_metrics
from chromaflow.tracking.registry.lookup import Version, version_filter
from chromaflow.tracking.registry.registry import Registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

_IMPORT_NOTE = (
    "No run here is known to have trained these weights: they came from the cache of DVC, which "
    "keeps the result of a training with the same code, data and settings, or MLflow was "
    "unreachable when "
    "the training ended."
)


def register_candidate(registry: Registry, digest: str) -> Version:
    """Upload the candidate and give it a version, whose tags say what it was made from.

    A version appears in one transaction after its artifact is complete, so a kill leaves it
    registered whole or not at all; what a killed call had uploaded is taken up again.

    Args:
        registry: Of the checkout whose candidate it is; nothing else registers there meanwhile.
        digest: SHA-256 of the candidate's model folder, which has no version yet.

    Returns:
        The version; that of another checkout which was first to register the same weights.

    Raises:
        ModelError: The evaluation is missing or of another model.
        ServerError: MLflow does not answer.
    """
    metrics = read_metrics(registry.project, digest)
    client, name = registry.connect(), registry.model
    experiment = experiment_id(client, registry.project, registry.settings)
    with translate_errors(registry.uri):
        run = _run_of(client, registry, experiment, digest)
        folder, run_id = registry.project.candidate, run.info.run_id
        model_id = artifacts.upload(
            client, folder, experiment=experiment, run_id=run_id, name=name, digest=digest
        )
        _log_evaluation(client, registry.project, run_id, model_id, metrics)
        _make_registered_model(client, name)
        made_from = _with_lock(client, registry.project, run)
        facts = VersionFacts(digest, run_id, metrics["model"], run=made_from)
        _create_version(client, name, model_id, facts)
        _delete_duplicates(client, name, digest)
    version = registry.version_of(digest)
    if version is None:
        raise ServerError(f"{name} was registered, but the registry does not show it.", "try again")
    return version


def _create_version(client: "MlflowClient", name: str, model_id: str, facts: VersionFacts) -> None:
    commit = facts.run.code.known_commit[:12] or "unknown"
    client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=facts.run_id,
        model_id=model_id,
        tags=facts.to_tags(),
        description=f"Weights {facts.digest[:12]}, made from commit {commit}.",
        await_creation_for=0,
    )


def _run_of(client: "MlflowClient", registry: Registry, experiment: str, digest: str) -> Any:
    """The run that trained these weights, or one that says that they were imported."""
    runs = client.search_runs(
        [experiment],
        filter_string=f"tags.model_digest = '{digest}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if runs:
        return runs[0]
    moment = "when the weights were registered"
    found = run_facts.collect(registry.project, registry.settings, moment)
    tags = {**found.facts.to_tags(), "model_digest": digest, "mlflow.note.content": _IMPORT_NOTE}
    run = client.create_run(experiment, run_name=f"import {digest[:8]}", tags=tags)
    run_id = run.info.run_id
    run_facts.log_files(client, run_id, found.contents)
    client.log_inputs(run_id, dataset_inputs(registry.project))
    client.set_terminated(run_id)
    return client.get_run(run_id)


def _with_lock(client: "MlflowClient", project: Project, run: Any) -> RunFacts:
    """The facts of a run, after what DVC says of its weights was added to them and to the run."""
    from mlflow.entities import RunTag  # noqa: PLC0415 (seconds)

    lock, content = run_facts.lock_of_candidate(project)
    tags = [RunTag(name, value) for name, value in lock.to_tags().items()]
    client.log_batch(run.info.run_id, tags=tags)
    if content:
        # Under its own name DVC would take the copy for a record of this checkout.
        run_facts.log_files(client, run.info.run_id, {"lineage/dvc.lock.txt": content})
    return replace(RunFacts.from_tags(run.data.tags), lock=lock)


def _log_evaluation(
    client: "MlflowClient", project: Project, run_id: str, model_id: str, metrics: Mapping[str, Any]
) -> None:
    """Link metric, model and data, and keep the evaluation's files with the run."""
    from mlflow.entities import Metric  # noqa: PLC0415 (seconds)

    now, test = int(datetime.now(UTC).timestamp() * 1000), held_out_dataset(project)
    numbers = [
        Metric(f"test/{name}", value, now, 0, model_id, test.name, test.digest, run_id)
        for name, value in sorted(metrics["model"].items())
    ]
    client.log_batch(run_id, metrics=numbers)
    client.log_artifacts(run_id, str(project.evaluation), "evaluation")


def _make_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (seconds)

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _delete_duplicates(client: "MlflowClient", name: str, digest: str) -> None:
    """Delete later versions of the same weights, made when two checkouts register at once.

    The first one is noted on the logged model, as a server does by itself, so that MLflow's pages
    lead from one to the other.
    """
    same = client.search_model_versions(version_filter(name, digest))
    first, *duplicates = sorted(same, key=lambda version: int(version.version))
    for duplicate in duplicates:
        client.delete_model_version(name, str(duplicate.version))
    note = json.dumps([{"name": name, "version": int(first.version)}])
    model_id = first.source.removeprefix("models:/")
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": note})
