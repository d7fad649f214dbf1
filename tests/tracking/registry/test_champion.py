import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from chromaflow.project import files
from chromaflow.provenance.facts import CodeFacts, DataFacts, RunFacts, VersionFacts
from chromaflow.tracking.registry.champion import ChampionSummary, cached_folder
from chromaflow.tracking.registry.lookup import Version


def version(digest: str) -> Version:
    """A version that was registered 90 seconds after the beginning of 1970."""
    run = RunFacts(CodeFacts("c" * 40), DataFacts("1" * 32))
    tags = VersionFacts(digest, "r1", {"psnr": 20.5}, run=run).to_tags()
    return Version("chromaflow", 3, "r1", "", 90_000, tags)


@pytest.fixture
def registered(tmp_path: Path) -> Path:
    """The model folder that the registry holds."""
    files.write_bytes(tmp_path / "registered" / "weights.safetensors", b"weights")
    files.write_text(tmp_path / "registered" / "model.json", "{}")
    return tmp_path / "registered"


def test_a_champion_without_a_decision_serves_since_it_was_registered() -> None:
    assert ChampionSummary.of(version("d" * 64), None) == ChampionSummary(
        model="chromaflow",
        version=3,
        digest="d" * 64,
        since="1970-01-01T00:01:30+00:00",
        decided=None,
        metrics={"psnr": 20.5},
        run_id="r1",
        git_commit="c" * 40,
        data_md5="1" * 32,
    )


def test_a_champion_serves_since_it_was_decided_upon() -> None:
    time = "2026-01-02T03:04:05+00:00"
    summary = ChampionSummary.of(version("d" * 64), {"time": time})
    assert (summary.since, summary.decided) == (time, time)


def test_a_copy_is_made_once_and_again_where_it_was_changed(
    tmp_path: Path, registered: Path
) -> None:
    entered = []

    @contextlib.contextmanager
    def verified() -> Iterator[Path]:
        entered.append(True)
        yield registered

    wanted = version(files.digest_of_folder(registered))
    cache = tmp_path / "cache"
    folder = cached_folder(cache, wanted, verified())
    assert folder == cache / wanted.digest
    assert files.digest_of_folder(folder) == wanted.digest
    assert cached_folder(cache, wanted, verified()) == folder
    assert len(entered) == 1
    (folder / "weights.safetensors").write_bytes(b"others")
    cached_folder(cache, wanted, verified())
    assert files.digest_of_folder(folder) == wanted.digest
    assert len(entered) == 2
