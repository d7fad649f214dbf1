from dataclasses import replace
from pathlib import Path

import pytest

from chromaflow.errors import ModelError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.steps.register import register
from chromaflow.tracking.client import connect, experiment_id
from chromaflow.tracking.registry import artifacts
from chromaflow.tracking.registry.lookup import Version
from chromaflow.tracking.registry.registry import Registry


@pytest.fixture
def registry(project: Project, settings: Settings) -> Registry:
    return Registry(project, settings)


@pytest.fixture
def version(registry: Registry, candidate: str) -> Version:
    """The registered candidate."""
    register(registry.project, registry.settings)
    found = registry.version_of(candidate)
    assert found is not None
    return found


def folder_of(registry: Registry, version: Version) -> Path:
    """Where the registry keeps it; it is no copy."""
    with registry.verified_folder(version) as folder:
        return folder


def test_nothing_in_an_artifact_is_a_pickle(registry: Registry, version: Version) -> None:
    package = folder_of(registry, version).parents[1]
    endings = {path.suffix for path in package.rglob("*") if path.is_file()}
    assert not endings & {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".pyc"}
    assert (package / "artifacts/model/weights.safetensors").is_file()
    pins = (package / "requirements.txt").read_text().split()
    assert all("==" in pin and "+" not in pin for pin in pins)


def test_the_same_folder_is_uploaded_once_and_is_an_output_of_each_run(
    project: Project, settings: Settings, candidate: str, light_package: None
) -> None:
    client = connect(project, settings)
    experiment = experiment_id(client, project, settings)
    runs = [client.create_run(experiment).info.run_id for _ in range(2)]
    ids = {
        artifacts.upload(
            client,
            project.candidate,
            experiment=experiment,
            run_id=run_id,
            name="chromaflow",
            digest=candidate,
        )
        for run_id in (*runs, runs[0])
    }
    (model,) = client.search_logged_models([experiment])
    assert ids == {model.model_id}
    assert str(model.status) == "READY"
    for run_id in runs:
        linked = client.get_run(run_id).outputs.model_outputs
        assert [output.model_id for output in linked] == [model.model_id]


def test_an_artifact_of_another_machine_is_downloaded(registry: Registry, version: Version) -> None:
    elsewhere = replace(version, source="s3://elsewhere")
    connected = []

    def connect_registry() -> None:
        connected.append(registry.connect())

    with artifacts.verified_folder(elsewhere, connect_registry) as folder:
        assert len(connected) == 1
        assert files.digest_of_folder(folder) == version.digest
    assert not folder.exists()


def test_an_artifact_that_was_changed_is_never_used(registry: Registry, version: Version) -> None:
    (folder_of(registry, version) / "weights.safetensors").write_bytes(b"others")
    with (
        pytest.raises(ModelError, match="version 1 is not what was registered") as raised,
        registry.verified_folder(version),
    ):
        pytest.fail("it was used")
    assert "chromaflow retrain" in raised.value.remedy


def test_a_lost_artifact_is_told(registry: Registry, version: Version) -> None:
    state = registry.project.state
    (state / "artifacts").rename(state / "elsewhere")
    with (
        pytest.raises(ModelError, match="the artifact of chromaflow version 1 is gone"),
        registry.verified_folder(version),
    ):
        pytest.fail("it was used")


def test_an_artifact_that_mlflow_does_not_give_is_told(
    registry: Registry, version: Version
) -> None:
    unknown = replace(version, version=99, source="s3://elsewhere")
    with (
        pytest.raises(ModelError, match="the artifact of models:/chromaflow/99 cannot be fetched"),
        registry.verified_folder(unknown),
    ):
        pytest.fail("it was used")
