from pathlib import Path

from chromaflow.data.ingest.build import SnapshotCounts
from chromaflow.project import dvc, files
from chromaflow.project.paths import Project
from chromaflow.steps.ingest import IngestResult, ingest
from tests.support.snapshots import picture, settings_of


def test_a_snapshot_is_built_and_recorded_with_dvc(project: Project, tmp_path: Path) -> None:
    files.write_text(project.root / ".dvc" / "config", "[core]\n    no_scm = true\n")
    folder = tmp_path / "photographs"
    for index in range(3):
        files.write_bytes(folder / f"{index}.png", picture(index))
    files.write_bytes(folder / "empty.png", b"")
    first = ingest(project, settings_of(folder))
    assert first.snapshot == dvc.folder_md5(project.raw) == dvc.snapshot_digest(project)
    assert (first.recorded, first.fetched, first.counts.images) == (True, False, 4)
    assert first.summary().splitlines() == [
        f"data/raw: 4 images, changed, {first.snapshot}",
        "1 of them cannot be read; chromaflow validate reports why",
    ]
    again = ingest(project, settings_of(folder))
    assert (again.recorded, again.counts.changed, again.snapshot) == (False, False, first.snapshot)


def test_images_that_left_are_said() -> None:
    counts = SnapshotCounts(
        changed=True,
        source="folder",
        images=7,
        added=0,
        removed=2,
        undecodable=0,
        skipped=0,
        shards=1,
    )
    result = IngestResult(counts, fetched=True, recorded=False, snapshot="abc.dir")
    assert result.summary().splitlines() == [
        "data/raw: 7 images, unchanged, abc.dir",
        "2 of the last snapshot are no longer there",
    ]
    assert result.to_json() == {
        "changed": True,
        "source": "folder",
        "images": 7,
        "added": 0,
        "removed": 2,
        "undecodable": 0,
        "skipped": 0,
        "shards": 1,
        "fetched": True,
        "recorded": False,
        "snapshot": "abc.dir",
    }
