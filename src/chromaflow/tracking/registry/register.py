"""Versions of the model, named by the digest of their weights, and the one that serves."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from chromaflow.errors import ModelError, ServerError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.provenance import ledger, run_facts
from chromaflow.provenance.facts import RunFacts, VersionFacts
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect, experiment_id, first_line, told, tracking_uri
from chromaflow.tracking.datasets import dataset_inputs, held_out_dataset
from chromaflow.tracking.registry.lookup import Version, champion, version_filter, version_of
from chromaflow.tracking.registry.package import MODEL_PATH, write_package

if TYPE_CHECKING:
    from mlflow import MlflowClient

_IMPORT_NOTE = (
    "No run here is known to have trained these weights: they came from the cache of DVC, which "
    "keeps the result of a training with the same code, data and settings, or MLflow was away when "
    "the training ended."
)


def candidate_digest(project: Project) -> str:
    """The digest of the model folder that training wrote.

    Raises:
        ModelError: There is none yet.
    """
    if not (project.candidate / "weights.safetensors").is_file():
        raise ModelError(f"{project.candidate} holds no trained model.", "chromaflow retrain")
    return files.digest_of_folder(project.candidate)


def register(project: Project, settings: Settings) -> dict[str, Any]:
    """Give the candidate a version in the registry; the same weights are never two versions.

    A version appears in one transaction after its artifact is complete, so a kill leaves it
    registered whole or not at all; what a killed call had uploaded is taken up again.

    Returns:
        `model`, `version`, `digest`, `run_id`, and whether it was `created` by this call.

    Raises:
        ModelError: There is no candidate, or its evaluation is missing or of another model.
        ServerError: MLflow does not answer.
    """
    digest = candidate_digest(project)
    with project.alone("registry", wait=True):
        version = version_of(project, settings, digest)
        created = version is None
        if version is None:
            version = _create(project, settings, digest)
    return {
        "model": version.model,
        "version": version.version,
        "digest": digest,
        "run_id": version.run_id,
        "created": created,
    }


def _create(project: Project, settings: Settings, digest: str) -> Version:
    metrics = read_metrics(project, digest)
    client = connect(project, settings)
    name, uri = settings.tracking.model, tracking_uri(project, settings)
    experiment = experiment_id(client, project, settings)
    with told(uri):
        run = _run_of(client, project, settings, experiment, digest)
        model_id = _log_model(client, project, experiment, run.info.run_id, name, digest)
        _log_evaluation(client, project, run, model_id, metrics)
        _make_registered_model(client, name)
        made_from = _with_lock(client, project, run)
        facts = VersionFacts(digest, run.info.run_id, metrics["model"], run=made_from)
        client.create_model_version(
            name,
            source=f"models:/{model_id}",
            run_id=run.info.run_id,
            model_id=model_id,
            tags=facts.to_tags(),
            description=_describe(facts),
            await_creation_for=0,
        )
        _withdraw_doubles(client, name, digest)
    version = version_of(project, settings, digest)
    if version is None:
        raise ServerError(f"{name} was registered, but the registry does not show it.", "try again")
    return version


def _describe(facts: VersionFacts) -> str:
    commit = facts.run.code.known_commit[:12] or "unknown"
    return f"Weights {facts.digest[:12]}, made from commit {commit}."


def read_metrics(project: Project, digest: str) -> dict[str, Any]:
    """The evaluation of the model with this digest.

    Raises:
        ModelError: There is none, or it is of another model.
    """
    path = project.evaluation / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing: nothing judged the candidate.", _EVALUATE) from None
    except ValueError:
        raise ModelError(f"{path} is not the JSON that evaluation writes.", _EVALUATE) from None
    if metrics.get("digest", digest) != digest:
        raise ModelError(f"{path} is about other weights than the candidate's.", _EVALUATE)
    return metrics


_EVALUATE = "dvc repro evaluate"


def _run_of(
    client: "MlflowClient", project: Project, settings: Settings, experiment: str, digest: str
) -> Any:
    """The run that trained these weights, or one that says that they were imported."""
    runs = client.search_runs(
        [experiment],
        filter_string=f"tags.model_digest = '{digest}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if runs:
        return runs[0]
    found = run_facts.collect(project, settings, "when the weights were registered")
    tags = {**found.facts.to_tags(), "model_digest": digest, "mlflow.note.content": _IMPORT_NOTE}
    run = client.create_run(experiment, run_name=f"import {digest[:8]}", tags=tags)
    run_id = run.info.run_id
    run_facts.log_files(client, run_id, found.contents)
    client.log_inputs(run_id, dataset_inputs(project))
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


def _log_model(
    client: "MlflowClient", project: Project, experiment: str, run_id: str, name: str, digest: str
) -> str:
    """Upload the candidate as a logged model of the run; what a killed call began is completed."""
    from mlflow.entities import LoggedModelOutput  # noqa: PLC0415 (seconds)

    found = client.search_logged_models([experiment], filter_string=f"tags.digest = '{digest}'")
    model = next(iter(found), None) or client.create_logged_model(
        experiment,
        name=name,
        source_run_id=run_id,
        tags={"digest": digest},
        model_type="image colorization",
    )
    if str(model.status) != "READY":
        with tempfile.TemporaryDirectory(prefix="chromaflow-") as temporary:
            package = Path(temporary) / "package"
            write_package(project.candidate, package, model.model_id)
            client.log_model_artifacts(model.model_id, str(package))
        client.finalize_logged_model(model.model_id, "READY")
    outputs = client.get_run(run_id).outputs
    linked = {output.model_id for output in outputs.model_outputs} if outputs else set()
    if model.model_id not in linked:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def _log_evaluation(
    client: "MlflowClient", project: Project, run: Any, model_id: str, metrics: Mapping[str, Any]
) -> None:
    """Link metric, model and data, and keep the evaluation's files with the run."""
    from mlflow.entities import Metric  # noqa: PLC0415 (seconds)

    now, test = int(datetime.now(UTC).timestamp() * 1000), held_out_dataset(project)
    numbers = [
        Metric(f"test/{name}", value, now, 0, model_id, test.name, test.digest, run.info.run_id)
        for name, value in sorted(metrics["model"].items())
    ]
    client.log_batch(run.info.run_id, metrics=numbers)
    client.log_artifacts(run.info.run_id, str(project.evaluation), "evaluation")


def _make_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (seconds)

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _withdraw_doubles(client: "MlflowClient", name: str, digest: str) -> None:
    """Delete later versions of the same weights, made when two checkouts register at once.

    The first one is noted on the logged model, as a server does by itself, so that MLflow's pages
    lead from one to the other.
    """
    same = client.search_model_versions(version_filter(name, digest))
    first, *doubles = sorted(same, key=lambda version: int(version.version))
    for double in doubles:
        client.delete_model_version(name, str(double.version))
    note = json.dumps([{"name": name, "version": int(first.version)}])
    model_id = first.source.removeprefix("models:/")
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": note})


def _local_path(source: str) -> Path | None:
    parts = urlsplit(source)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path))


@contextlib.contextmanager
def verified_folder(project: Project, settings: Settings, version: Version) -> Iterator[Path]:
    """The model folder of a version as the registry holds it now, its digest recomputed.

    Raises:
        ModelError: The artifact is gone, or is not what was registered.
        ServerError: MLflow does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="chromaflow-") as temporary:
        local = _local_path(version.source)
        if local is not None and local.is_dir():
            folder = local / MODEL_PATH
        else:
            folder = _download(project, settings, version, Path(temporary))
        name = f"{version.model} version {version.version}"
        if not folder.is_dir():
            raise ModelError(f"the artifact of {name} is gone from {version.source}.", _RESTORE)
        actual = files.digest_of_folder(folder)
        if actual != version.digest:
            raise ModelError(
                f"the artifact of {name} is not what was registered: its digest is {actual[:12]}…, "
                f"the registry says {version.digest[:12] or 'nothing'}… ({folder}).",
                _RESTORE,
            )
        yield folder


_RESTORE = "delete that version in MLflow and run chromaflow retrain, or restore the artifact"


def _download(project: Project, settings: Settings, version: Version, target: Path) -> Path:
    connect(project, settings)
    import mlflow.artifacts  # noqa: PLC0415 (seconds)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    uri = f"models:/{version.model}/{version.version}"
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(target))) / MODEL_PATH
    except (MlflowException, OSError) as error:
        problem = f"the artifact of {uri} cannot be had: {first_line(error)}"
        raise ModelError(problem, _RESTORE) from error


def champion_folder(project: Project, settings: Settings) -> Path:
    """The champion's model folder on this machine, its digest recomputed.

    Raises:
        ModelError: There is no champion, or its artifact is gone or was changed.
        ServerError: MLflow does not answer.
    """
    version = champion(project, settings)
    if version is None:
        raise ModelError(
            f"{settings.tracking.model} has no champion yet: nothing can color.",
            "chromaflow retrain, or give a model folder with --model",
        )
    cached = project.state / "champions" / version.digest
    if version.digest and cached.is_dir() and files.digest_of_folder(cached) == version.digest:
        return cached
    with (
        verified_folder(project, settings, version) as folder,
        files.atomic_folder(cached) as copy,
    ):
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    return cached


def serving(project: Project, settings: Settings) -> dict[str, Any]:
    """What serves: model, version, digest, since when, metrics, run; empty without a champion.

    `decided` is the time of the decision in this checkout's ledger, or None where the champion was
    named by hand or from another checkout.

    Raises:
        ServerError: MLflow does not answer.
    """
    version = champion(project, settings)
    if version is None:
        return {}
    facts = version.facts
    decision = ledger.find(project.ledger, facts.decision)
    registered = datetime.fromtimestamp(version.created / 1000, UTC).isoformat(timespec="seconds")
    return {
        "model": version.model,
        "version": version.version,
        "digest": version.digest,
        "since": decision["time"] if decision else registered,
        "decided": decision["time"] if decision else None,
        "metrics": dict(facts.metrics),
        "run_id": version.run_id,
        "git_commit": facts.run.code.known_commit,
        "data_md5": facts.run.data.raw_md5,
    }
