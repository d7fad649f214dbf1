import fcntl
import hashlib
import io
import os
import resource
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

from chromaflow.data.ingest.build import SnapshotCounts, build_snapshot
from chromaflow.data.snapshot.manifest import SCHEMA
from chromaflow.errors import DataError, ServerError
from chromaflow.project.files import digest_of_folder
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.support.snapshots import assert_consistent, picture, rows, settings_of, states


def test_snapshot_of_a_folder(checkout: Project, folder: Path) -> None:
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(picture(3)[:-500])
    result = build_snapshot(checkout, settings_of(folder, license="CC0"))
    assert result == SnapshotCounts(
        changed=True,
        source="folder",
        images=12,
        added=12,
        removed=0,
        undecodable=2,
        skipped=1,
        shards=3,
    )
    table = pq.read_table(checkout.raw / "manifest.parquet")
    assert table.schema.equals(SCHEMA)
    found = rows(checkout)
    assert [row["id"] for row in found] == sorted({row["id"] for row in found})
    by_url = {row["url"]: row for row in found}
    good = by_url["folder:03.png"]
    assert good["id"] == hashlib.sha256(b"folder\nfolder:03.png").hexdigest()[:16]
    assert (good["width"], good["height"], good["license"]) == (96, 72, "CC0")
    assert good["error"] is None
    for name, reason in (("empty", "it is empty"), ("cut", "broken")):
        bad = by_url[f"folder:{name}.png"]
        assert reason in bad["error"]
        assert bad["decodes"] is False
        measures = ("width", "height", "mean_chroma", "chroma_spread", "phash")
        assert all(bad[measure] is None for measure in measures)
    assert_consistent(checkout)


def test_progress_counts_every_image(checkout: Project, folder: Path) -> None:
    seen: list[object] = []

    class Bar:
        def __init__(self, *given: object) -> None:
            seen.append(given)

        def __enter__(self) -> Callable[[int], None]:
            return seen.append

        def __exit__(self, *_: object) -> None:
            pass

    build_snapshot(checkout, settings_of(folder), Bar)
    assert seen == [("Reading", 10), *[1] * 10]


def test_nothing_changed_rewrites_nothing(checkout: Project, folder: Path) -> None:
    build_snapshot(checkout, settings_of(folder))
    before = states(checkout)
    result = build_snapshot(checkout, settings_of(folder))
    assert not result.changed
    assert states(checkout) == before


def test_new_images_make_new_shards_and_old_ones_stay(checkout: Project, folder: Path) -> None:
    build_snapshot(checkout, settings_of(folder))
    before = states(checkout)
    old = {row["id"]: row for row in rows(checkout)}
    for index in (20, 21, 22, 23, 24):
        (folder / f"0{index}.png").write_bytes(picture(index))
    result = build_snapshot(checkout, settings_of(folder))
    assert (result.added, result.images, result.shards) == (5, 15, 5)
    after = states(checkout)
    assert {name: after[name] for name in before if name.endswith("tar")} == {
        name: state for name, state in before.items() if name.endswith("tar")
    }
    found = {row["id"]: row for row in rows(checkout)}
    assert {key: found[key] for key in old} == old
    assert_consistent(checkout)


def test_images_that_left_or_changed(checkout: Project, folder: Path) -> None:
    build_snapshot(checkout, settings_of(folder))
    before = {row["url"]: row for row in rows(checkout)}
    for index in range(4):
        (folder / f"{index:02d}.png").unlink()
    (folder / "05.png").write_bytes(picture(30))
    result = build_snapshot(checkout, settings_of(folder))
    assert (result.removed, result.added, result.changed) == (4, 0, True)
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
    build_snapshot(checkout, settings_of(folder))
    before = states(checkout)
    build_snapshot(checkout, settings_of(folder, license="CC0", max_pixels=72 * 96 - 1))
    assert {row["license"] for row in rows(checkout)} == {"CC0"}
    assert {row["decodes"] for row in rows(checkout)} == {False}
    build_snapshot(checkout, settings_of(folder, license=""))
    assert {row["license"] for row in rows(checkout)} == {None}
    assert {row["decodes"] for row in rows(checkout)} == {True}
    after = states(checkout)
    assert all(after[name] == before[name] for name in before if name.endswith(".tar"))


def test_another_source_replaces_the_snapshot(checkout: Project, folder: Path) -> None:
    build_snapshot(checkout, settings_of(folder))
    result = build_snapshot(checkout, Settings.model_validate({"source": {"tile": 512}}))
    assert (result.source, result.removed) == ("sample", 10)
    assert {row["source"] for row in rows(checkout)} == {"sample"}
    assert not (checkout.raw / "folder").exists()
    assert_consistent(checkout)


def test_the_same_images_give_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    digests = set()
    for name in ("one", "other"):
        made = Project(tmp_path / name)
        made.root.mkdir()
        build_snapshot(made, settings_of(folder))
        digests.add(digest_of_folder(made.raw))
    assert len(digests) == 1


def test_a_lost_shard_is_made_again(checkout: Project, folder: Path) -> None:
    build_snapshot(checkout, settings_of(folder))
    before = digest_of_folder(checkout.raw)
    (checkout.raw / "folder/000002.tar").unlink()
    assert build_snapshot(checkout, settings_of(folder)).changed
    assert_consistent(checkout)
    assert digest_of_folder(checkout.raw) == before


def test_only_what_ingest_wrote_is_swept(checkout: Project, folder: Path) -> None:
    mine = checkout.raw / "folder" / "mine.tar"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    stray = checkout.raw / "folder" / "000099.tar"
    stray.write_bytes(b"left over")
    (checkout.raw / ".manifest.parquet.abc.partial").write_bytes(b"left over")
    build_snapshot(checkout, settings_of(folder))
    assert mine.exists()
    assert not stray.exists()
    assert not list(checkout.raw.glob(".*.partial"))


def test_hard_links_of_dvc_are_never_written_through(checkout: Project, folder: Path) -> None:
    build_snapshot(checkout, settings_of(folder))
    cache = checkout.root / "cache"
    cache.mkdir()
    for path in [p for p in checkout.raw.rglob("*") if p.is_file()]:
        os.link(path, cache / path.name)
    before = digest_of_folder(cache)
    (folder / "11.png").write_bytes(picture(11))
    (folder / "00.png").unlink()
    build_snapshot(checkout, settings_of(folder, license="CC0"))
    assert digest_of_folder(cache) == before


def test_two_ingests_at_once(checkout: Project, folder: Path) -> None:
    checkout.state.mkdir()
    with (checkout.state / "ingest.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ServerError, match="another ingest"):
            build_snapshot(checkout, settings_of(folder))
    assert build_snapshot(checkout, settings_of(folder)).changed


def test_leftovers_of_other_settings_are_removed(checkout: Project, folder: Path) -> None:
    stale = checkout.raw.with_name(".raw.0123456789abcdef.partial")
    stale.mkdir(parents=True)
    (stale / "000000.tar").write_bytes(b"half")
    build_snapshot(checkout, settings_of(folder))
    assert_consistent(checkout)


def test_a_full_disk_is_told_and_leaves_the_old_snapshot(checkout: Project, folder: Path) -> None:
    build_snapshot(checkout, settings_of(folder))
    before = digest_of_folder(checkout.raw)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(DataError, match="File too large") as caught:
            build_snapshot(checkout, settings_of(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "make room" in caught.value.remedy
    assert digest_of_folder(checkout.raw) == before
    assert build_snapshot(checkout, settings_of(folder)).added == 1
    assert_consistent(checkout)


def test_a_manifest_that_is_none_is_told(checkout: Project, folder: Path) -> None:
    checkout.raw.mkdir(parents=True)
    (checkout.raw / "manifest.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(DataError, match=r"manifest\.parquet is not a manifest"):
        build_snapshot(checkout, settings_of(folder))


def test_an_unusable_source_leaves_the_snapshot(checkout: Project, folder: Path) -> None:
    build_snapshot(checkout, settings_of(folder))
    before = states(checkout)
    with pytest.raises(DataError, match=r"source\.folder"):
        build_snapshot(checkout, settings_of(folder / "missing"))
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
    assert build_snapshot(checkout, Settings.model_validate(values)).undecodable == 1
    errors = {row["url"]: row["error"] for row in rows(checkout)}
    assert errors["cvcl:coast_a.jpg"] is None  # PNG bytes under the name of a JPEG
    assert "does not unpack" in errors["cvcl:coast_b.jpg"]
    assert_consistent(checkout)


def test_shards_follow_the_webdataset_convention(checkout: Project, folder: Path) -> None:
    build_snapshot(checkout, settings_of(folder))
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
    assert build_snapshot(checkout, settings_of(folder)).undecodable == 2
    errors = {row["url"]: row["error"] for row in rows(checkout)}
    assert errors.pop("folder:huge.jpg").startswith("50000×50000 pixels are more than")
    assert errors.pop("folder:page.jpg") == "unknown image format"
    assert set(errors.values()) == {None}


def test_rows_of_an_ingest_that_measured_less_are_measured_anew(
    checkout: Project, folder: Path
) -> None:
    build_snapshot(checkout, settings_of(folder))
    before = states(checkout), rows(checkout)
    path = checkout.raw / "manifest.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["luma_spread"]), path)
    assert build_snapshot(checkout, settings_of(folder)).changed
    assert rows(checkout) == before[1]
    shards = {name for name in before[0] if name.endswith(".tar")}
    assert {name: states(checkout)[name] for name in shards} == {n: before[0][n] for n in shards}
