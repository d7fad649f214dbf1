import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chromaflow.data.ingest import build as module
from chromaflow.data.ingest.build import build_snapshot
from chromaflow.data.ingest.inspect import Inspection, inspect
from chromaflow.project.files import digest_of_folder
from chromaflow.project.paths import Project
from tests.support.snapshots import assert_consistent, picture, rows, settings_of

KILLED = """
import os, signal, sys
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.data.ingest import build as module

where = sys.argv[3]
def die(*_): os.kill(os.getpid(), signal.SIGKILL)

class Bar:
    seen = 0
    def __init__(self, *_): pass
    def __enter__(self): return self.advance
    def __exit__(self, *_): pass
    def advance(self, count):
        self.seen += count
        if where == f"after {self.seen} images": die()

write = module.write_manifest
def write_manifest(path, table):
    if where == "before the manifest" and path.name == "manifest.parquet": die()
    write(path, table)
    if where == "after the manifest" and path.name == "manifest.parquet": die()
module.write_manifest = write_manifest
settings = {"name": "folder", "folder": sys.argv[2], "shard_images": 4}
values = Settings.model_validate({"source": settings})
module.build_snapshot(Project(Path(sys.argv[1])), values, Bar)
"""


@pytest.mark.parametrize("where", ["after 6 images", "before the manifest", "after the manifest"])
def test_a_killed_ingest_leaves_the_old_snapshot_and_the_next_goes_on(
    checkout: Project, tmp_path: Path, folder: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = folder.rename(tmp_path / "later")
    folder.mkdir()
    (folder / "00.png").write_bytes(picture(0))
    build_snapshot(checkout, settings_of(folder))
    old = rows(checkout)
    folder.joinpath("00.png").unlink()
    folder.rmdir()
    moved.rename(folder)
    command = [sys.executable, "-c", KILLED, str(checkout.root), str(folder), where]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    if where != "after the manifest":
        assert rows(checkout) == old
    for row in rows(checkout):
        assert (checkout.raw / row["shard"]).is_file()

    inspected: list[bytes] = []

    def spy(given: bytes, max_pixels: int) -> Inspection:
        inspected.append(given)
        return inspect(given, max_pixels)

    monkeypatch.setattr(module, "inspect", spy)
    build_snapshot(checkout, settings_of(folder))
    assert len(inspected) == (5 if where == "after 6 images" else 0)
    assert_consistent(checkout)

    clean = Project(tmp_path / "clean")
    clean.root.mkdir()
    for path in sorted(folder.iterdir())[1:]:
        path.rename(tmp_path / path.name)
    build_snapshot(clean, settings_of(folder))
    for path in tmp_path.glob("*.png"):
        path.rename(folder / path.name)
    build_snapshot(clean, settings_of(folder))
    assert digest_of_folder(checkout.raw) == digest_of_folder(clean.raw)
