import fcntl
import hashlib
import io
import os
import resource
import signal
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

from chromaflow.errors import DataError, ServerError
from chromaflow.files import digest_of_folder
from chromaflow.project import Project
from chromaflow.settings import Settings
from chromaflow.sources import ingest as module
from chromaflow.sources.ingest import ingest
from chromaflow.sources.manifest import SCHEMA
from chromaflow.sources.shards import read_shard


def picture(index: int) -> bytes:
    """A piece of the coffee photograph, another one for each index."""
    corner = 40 * (index % 9), 60 * (index // 9)
    square = data.coffee()[corner[0] : corner[0] + 72, corner[1] : corner[1] + 96]
    buffer = io.BytesIO()
    Image.fromarray(square).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photographs"
    made.mkdir()
    for index in range(10):
        (made / f"{index:02d}.png").write_bytes(picture(index))
    return made


def settings_of(folder: Path, **source: object) -> Settings:
    values = {"name": "folder", "folder": str(folder), "shard_images": 4, **source}
    return Settings.model_validate({"source": values})


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    (tmp_path / "checkout").mkdir()
    return Project(tmp_path / "checkout")


def rows(project: Project) -> list[dict]:
    return pq.read_table(project.raw / "manifest.parquet").to_pylist()


def states(project: Project) -> dict[str, tuple[int, int]]:
    """Inode and time of every file of the snapshot."""
    return {
        path.relative_to(project.raw).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in project.raw.rglob("*")
        if path.is_file()
    }


def assert_consistent(project: Project) -> None:
    """The manifest and the shards tell the same, and nothing else lies about."""
    stored = {}
    for path in project.raw.glob("*/*.tar"):
        for member in read_shard(path):
            stored[path.relative_to(project.raw).as_posix(), member.key] = member
    for row in rows(project):
        member = stored[row["shard"], row["key"]]
        assert hashlib.sha256(member.data).hexdigest() == row["sha256"] == member.facts["sha256"]
        assert len(member.data) == row["bytes"]
        assert (member.facts["id"], member.facts["url"]) == (row["id"], row["url"])
    used = {row["shard"] for row in rows(project)} | {"manifest.parquet"}
    assert set(states(project)) == used
    assert [path.name for path in project.raw.parent.iterdir()] == ["raw"]


def test_snapshot_of_a_folder(checkout: Project, folder: Path) -> None:
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(picture(3)[:-500])
    result = ingest(checkout, settings_of(folder, license="CC0"))
    assert result == {
        "changed": True,
        "source": "folder",
        "images": 12,
        "added": 12,
        "removed": 0,
        "undecodable": 2,
        "skipped": 1,
        "shards": 3,
    }
    table = pq.read_table(checkout.raw / "manifest.parquet")
    assert table.schema.equals(SCHEMA)
    found = rows(checkout)
    assert [row["id"] for row in found] == sorted({row["id"] for row in found})
    by_url = {row["url"]: row for row in found}
    good = by_url["folder:03.png"]
    assert good["id"] == hashlib.sha256(b"folder\nfolder:03.png").hexdigest()[:16]
    assert (good["width"], good["height"], good["license"]) == (96, 72, "CC0")
    assert good["error"] is None
    for name, reason in (("empty", "no bytes"), ("cut", "broken")):
        bad = by_url[f"folder:{name}.png"]
        assert reason in bad["error"]
        assert bad["decodes"] is False
        measures = ("width", "height", "mean_chroma", "chroma_spread", "phash")
        assert all(bad[measure] is None for measure in measures)
    assert_consistent(checkout)


def test_progress_counts_every_image(checkout: Project, folder: Path) -> None:
    seen: list = []

    class Bar:
        def __init__(self, *given: object) -> None:
            seen.append(given)

        def __enter__(self):
            return seen.append

        def __exit__(self, *_: object) -> None:
            pass

    ingest(checkout, settings_of(folder), Bar)
    assert seen == [("Reading", 10), *[1] * 10]


def test_nothing_changed_rewrites_nothing(checkout: Project, folder: Path) -> None:
    ingest(checkout, settings_of(folder))
    before = states(checkout)
    result = ingest(checkout, settings_of(folder))
    assert not result["changed"]
    assert states(checkout) == before


def test_new_images_make_new_shards_and_old_ones_stay(checkout: Project, folder: Path) -> None:
    ingest(checkout, settings_of(folder))
    before = states(checkout)
    old = {row["id"]: row for row in rows(checkout)}
    for index in (20, 21, 22, 23, 24):
        (folder / f"0{index}.png").write_bytes(picture(index))
    result = ingest(checkout, settings_of(folder))
    assert (result["added"], result["images"], result["shards"]) == (5, 15, 5)
    after = states(checkout)
    assert {name: after[name] for name in before if name.endswith("tar")} == {
        name: state for name, state in before.items() if name.endswith("tar")
    }
    found = {row["id"]: row for row in rows(checkout)}
    assert {key: found[key] for key in old} == old
    assert_consistent(checkout)


def test_images_that_left_or_changed(checkout: Project, folder: Path) -> None:
    ingest(checkout, settings_of(folder))
    before = {row["url"]: row for row in rows(checkout)}
    for index in range(4):
        (folder / f"{index:02d}.png").unlink()
    (folder / "05.png").write_bytes(picture(30))
    result = ingest(checkout, settings_of(folder))
    assert (result["removed"], result["added"], result["changed"]) == (4, 0, True)
    found = {row["url"]: row for row in rows(checkout)}
    assert "folder:00.png" not in found
    assert not (checkout.raw / "folder/000000.tar").exists()
    assert found["folder:05.png"]["shard"] == "folder/000003.tar"
    assert found["folder:05.png"]["id"] == before["folder:05.png"]["id"]
    assert found["folder:06.png"] == before["folder:06.png"]
    assert_consistent(checkout)


def test_license_and_limit_of_pixels_are_brought_up_to_date(
    checkout: Project, folder: Path
) -> None:
    ingest(checkout, settings_of(folder))
    before = states(checkout)
    ingest(checkout, settings_of(folder, license="CC0", max_pixels=72 * 96 - 1))
    assert {row["license"] for row in rows(checkout)} == {"CC0"}
    assert {row["decodes"] for row in rows(checkout)} == {False}
    ingest(checkout, settings_of(folder, license=""))
    assert {row["license"] for row in rows(checkout)} == {None}
    assert {row["decodes"] for row in rows(checkout)} == {True}
    after = states(checkout)
    assert all(after[name] == before[name] for name in before if name.endswith(".tar"))


def test_another_source_replaces_the_snapshot(checkout: Project, folder: Path) -> None:
    ingest(checkout, settings_of(folder))
    result = ingest(checkout, Settings.model_validate({"source": {"tile": 512}}))
    assert (result["source"], result["removed"]) == ("sample", 10)
    assert {row["source"] for row in rows(checkout)} == {"sample"}
    assert not (checkout.raw / "folder").exists()
    assert_consistent(checkout)


def test_the_same_images_give_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    digests = set()
    for name in ("one", "other"):
        made = Project(tmp_path / name)
        made.root.mkdir()
        ingest(made, settings_of(folder))
        digests.add(digest_of_folder(made.raw))
    assert len(digests) == 1


def test_a_lost_shard_is_made_again(checkout: Project, folder: Path) -> None:
    ingest(checkout, settings_of(folder))
    before = digest_of_folder(checkout.raw)
    (checkout.raw / "folder/000002.tar").unlink()
    assert ingest(checkout, settings_of(folder))["changed"]
    assert_consistent(checkout)
    assert digest_of_folder(checkout.raw) == before


def test_only_what_ingest_wrote_is_swept(checkout: Project, folder: Path) -> None:
    mine = checkout.raw / "folder" / "mine.tar"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    stray = checkout.raw / "folder" / "000099.tar"
    stray.write_bytes(b"left over")
    (checkout.raw / ".manifest.parquet.abc.partial").write_bytes(b"left over")
    ingest(checkout, settings_of(folder))
    assert mine.exists()
    assert not stray.exists()
    assert not list(checkout.raw.glob(".*.partial"))


def test_hard_links_of_dvc_are_never_written_through(checkout: Project, folder: Path) -> None:
    ingest(checkout, settings_of(folder))
    cache = checkout.root / "cache"
    cache.mkdir()
    for path in [p for p in checkout.raw.rglob("*") if p.is_file()]:
        os.link(path, cache / path.name)
    before = digest_of_folder(cache)
    (folder / "11.png").write_bytes(picture(11))
    (folder / "00.png").unlink()
    ingest(checkout, settings_of(folder, license="CC0"))
    assert digest_of_folder(cache) == before


def test_two_ingests_at_once(checkout: Project, folder: Path) -> None:
    checkout.state.mkdir()
    with (checkout.state / "ingest.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ServerError, match="another ingest"):
            ingest(checkout, settings_of(folder))
    assert ingest(checkout, settings_of(folder))["changed"]


KILLED = """
import os, signal, sys
from pathlib import Path
from chromaflow.project import Project
from chromaflow.settings import Settings
from chromaflow.sources import ingest as module

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
module.ingest(Project(Path(sys.argv[1])), Settings.model_validate({"source": settings}), Bar)
"""


@pytest.mark.parametrize("where", ["after 6 images", "before the manifest", "after the manifest"])
def test_a_killed_ingest_leaves_the_old_snapshot_and_the_next_goes_on(
    checkout: Project, tmp_path: Path, folder: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = folder.rename(tmp_path / "later")
    folder.mkdir()
    (folder / "00.png").write_bytes(picture(0))
    ingest(checkout, settings_of(folder))
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
    inspect = module.inspect
    monkeypatch.setattr(
        module, "inspect", lambda given, limit: inspected.append(given) or inspect(given, limit)
    )
    ingest(checkout, settings_of(folder))
    assert len(inspected) == (5 if where == "after 6 images" else 0)
    assert_consistent(checkout)

    clean = Project(tmp_path / "clean")
    clean.root.mkdir()
    for path in sorted(folder.iterdir())[1:]:
        path.rename(tmp_path / path.name)
    ingest(clean, settings_of(folder))
    for path in tmp_path.glob("*.png"):
        path.rename(folder / path.name)
    ingest(clean, settings_of(folder))
    assert digest_of_folder(checkout.raw) == digest_of_folder(clean.raw)


def test_leftovers_of_other_settings_are_removed(checkout: Project, folder: Path) -> None:
    stale = checkout.raw.with_name(".raw.0123456789abcdef.partial")
    stale.mkdir(parents=True)
    (stale / "000000.tar").write_bytes(b"half")
    ingest(checkout, settings_of(folder))
    assert_consistent(checkout)


def test_a_full_disk_is_told_and_leaves_the_old_snapshot(checkout: Project, folder: Path) -> None:
    ingest(checkout, settings_of(folder))
    before = digest_of_folder(checkout.raw)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(DataError, match="File too large") as caught:
            ingest(checkout, settings_of(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "make room" in caught.value.mend
    assert digest_of_folder(checkout.raw) == before
    assert ingest(checkout, settings_of(folder))["added"] == 1
    assert_consistent(checkout)


def test_a_manifest_that_is_none_is_told(checkout: Project, folder: Path) -> None:
    checkout.raw.mkdir(parents=True)
    (checkout.raw / "manifest.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(DataError, match=r"manifest\.parquet is no manifest"):
        ingest(checkout, settings_of(folder))


def test_an_unusable_source_leaves_the_snapshot(checkout: Project, folder: Path) -> None:
    ingest(checkout, settings_of(folder))
    before = states(checkout)
    with pytest.raises(DataError, match=r"source\.folder"):
        ingest(checkout, settings_of(folder / "missing"))
    assert states(checkout) == before


def test_a_member_of_an_archive_that_is_broken_becomes_a_row(checkout: Project) -> None:
    import zipfile

    path = checkout.root / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("s/coast_a.jpg", picture(1))
        archive.writestr("s/coast_b.jpg", b"\x07" * 1000)
    broken = path.read_bytes().replace(b"\x07" * 1000, b"\x08" * 1000)
    path.write_bytes(broken)
    values = {"source": {"name": "cvcl", "archive": "a.zip"}}
    assert ingest(checkout, Settings.model_validate(values))["undecodable"] == 1
    errors = {row["url"]: row["error"] for row in rows(checkout)}
    assert errors["cvcl:coast_a.jpg"] is None  # PNG bytes under the name of a JPEG
    assert "does not unpack" in errors["cvcl:coast_b.jpg"]
    assert_consistent(checkout)


def test_shards_follow_the_webdataset_convention(checkout: Project, folder: Path) -> None:
    ingest(checkout, settings_of(folder))
    with tarfile.open(checkout.raw / "folder/000000.tar") as archive:
        names = archive.getnames()
    assert len(names) == 8
    for image, facts in zip(names[::2], names[1::2], strict=True):
        assert image.partition(".")[0] == facts.partition(".")[0]
        assert (image.partition(".")[2], facts.partition(".")[2]) == ("png", "json")


def test_hostile_pictures_are_named_and_odd_ones_are_taken(checkout: Project, folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    image = Image.fromarray(data.coffee())
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "exif.jpg", exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", 50_000, 50_000)
    (folder / "huge.jpg").write_bytes(content)
    (folder / "page.jpg").write_bytes(b"<html>404</html>")
    assert ingest(checkout, settings_of(folder))["undecodable"] == 2
    errors = {row["url"]: row["error"] for row in rows(checkout)}
    assert errors.pop("folder:huge.jpg").startswith("50000×50000 pixels are more than")
    assert errors.pop("folder:page.jpg") == "no image format that is known"
    assert set(errors.values()) == {None}


def test_rows_of_an_ingest_that_measured_less_are_measured_anew(
    checkout: Project, folder: Path
) -> None:
    ingest(checkout, settings_of(folder))
    before = states(checkout), rows(checkout)
    path = checkout.raw / "manifest.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["luma_spread"]), path)
    assert ingest(checkout, settings_of(folder))["changed"]
    assert rows(checkout) == before[1]
    shards = {name for name in before[0] if name.endswith(".tar")}
    assert {name: states(checkout)[name] for name in shards} == {n: before[0][n] for n in shards}
