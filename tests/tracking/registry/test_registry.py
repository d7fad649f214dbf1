from typing import Any

import pytest

from chromaflow.errors import ModelError, ServerError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.provenance import ledger
from chromaflow.settings import Settings
from chromaflow.steps.register import register
from chromaflow.tracking.registry import lookup
from chromaflow.tracking.registry.lookup import Version
from chromaflow.tracking.registry.registry import Registry
from tests.support.tracking import RunPython, WriteCandidate, WriteEvaluation


@pytest.fixture
def registry(project: Project, settings: Settings, light_package: None) -> Registry:
    return Registry(project, settings)


@pytest.fixture
def version(registry: Registry, candidate: str) -> Version:
    """The registered candidate."""
    register(registry.project, registry.settings)
    found = registry.version_of(candidate)
    assert found is not None
    return found


def test_a_version_becomes_champion_with_its_decision(
    registry: Registry,
    version: Version,
    write_candidate: WriteCandidate,
    write_evaluation: WriteEvaluation,
) -> None:
    assert registry.champion() is None
    registry.set_champion(version, "a" * 64)
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.facts.decision) == (1, "a" * 64)
    write_evaluation(write_candidate(seed=1))
    register(registry.project, registry.settings)
    other = registry.version_of(files.digest_of_folder(registry.project.candidate))
    assert other is not None
    registry.set_champion(other, "b" * 64)
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.facts.decision) == (2, "b" * 64)


def test_sql_and_client_give_the_same_version(
    registry: Registry, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.set_champion(version, "a" * 64)
    by_sql = [registry.champion(), registry.version_of(version.digest)]

    def unknown(*_: Any) -> None:
        raise lookup._NoQuickAnswerError

    monkeypatch.setattr(lookup, "_by_sql", unknown)
    by_client = [registry.champion(), registry.version_of(version.digest)]
    for sql, client in zip(by_sql, by_client, strict=True):
        assert sql is not None
        assert client is not None
        assert (sql.version, sql.run_id, sql.created) == (
            client.version,
            client.run_id,
            client.created,
        )
        assert dict(sql.tags) == dict(client.tags)
    assert registry.version_of("0" * 64) is None
    registry.connect().delete_registered_model_alias("chromaflow", "champion")
    assert registry.champion() is None


def test_a_deleted_version_is_no_version(registry: Registry, version: Version) -> None:
    registry.set_champion(version, "a" * 64)
    registry.connect().delete_model_version("chromaflow", "1")
    assert registry.version_of(version.digest) is None
    assert registry.champion() is None
    assert register(registry.project, registry.settings).created


def test_the_folder_of_the_champion_holds_the_registered_bytes(
    registry: Registry, version: Version
) -> None:
    registry.set_champion(version, "a" * 64)
    folder = registry.champion_folder()
    assert folder == registry.project.champions / version.digest
    assert files.digest_of_folder(folder) == version.digest
    (folder / "weights.safetensors").write_bytes(b"changed in the cache")
    assert files.digest_of_folder(registry.champion_folder()) == version.digest


def test_a_champion_that_was_changed_or_lost_is_never_used(
    registry: Registry, version: Version
) -> None:
    registry.set_champion(version, "a" * 64)
    with registry.verified_folder(version) as artifact:
        (artifact / "weights.safetensors").write_bytes(b"other weights")
    with pytest.raises(ModelError, match="not what was registered"):
        registry.champion_folder()
    (registry.project.state / "artifacts").rename(registry.project.root / "elsewhere")
    with pytest.raises(ModelError, match="version 1 is gone"):
        registry.champion_folder()
    assert not registry.project.champions.exists()


def test_no_champion_names_what_makes_one(registry: Registry) -> None:
    assert registry.champion_summary() is None
    with pytest.raises(ModelError, match="no champion") as raised:
        registry.champion_folder()
    assert "chromaflow retrain" in raised.value.remedy


def test_the_summary_knows_the_decision_of_this_checkout_alone(
    registry: Registry, version: Version
) -> None:
    registry.set_champion(version, "a" * 64)
    summary = registry.champion_summary()
    assert summary is not None
    assert (summary.version, summary.digest) == (1, version.digest)
    assert summary.run_id == version.run_id
    assert summary.metrics == {"auc_rebalanced": 0.6, "delta_e_2000": 14.0}
    assert summary.decided is None
    assert summary.since.endswith("+00:00")
    entry = ledger.append(registry.project.ledger, {"version": 1})
    registry.set_champion(version, entry["line"])
    summary = registry.champion_summary()
    assert summary is not None
    assert summary.decided == summary.since == entry["time"]


def test_a_server_that_is_down_is_named(project: Project) -> None:
    settings = Settings.model_validate({"tracking": {"uri": "http://127.0.0.1:9"}})
    registry = Registry(project, settings)
    for ask in (registry.champion, registry.champion_folder, registry.champion_summary):
        with pytest.raises(ServerError, match=r"127\.0\.0\.1:9"):
            ask()


def test_asking_imports_no_mlflow(
    registry: Registry, version: Version, run_python: RunPython
) -> None:
    registry.set_champion(version, "a" * 64)
    code = f"""
import sys
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.tracking.registry.registry import Registry
registry = Registry(Project(Path({str(registry.project.root)!r})), Settings())
assert registry.version_of({version.digest!r}) == registry.champion()
assert registry.champion_summary().version == 1
assert registry.champion_folder().is_dir()
assert not {{"mlflow", "torch", "pandas", "sqlalchemy"}} & set(sys.modules)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
