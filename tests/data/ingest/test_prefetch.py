"""What an ingest does with images on a server: only what is missing, again what failed, no more."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from chromaflow.data.download import fetch
from chromaflow.data.download.fetch import download
from chromaflow.data.ingest.build import build_snapshot
from chromaflow.errors import DataError
from chromaflow.project.files import digest_of_folder
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.support.hosts import Host
from tests.support.photographs import photograph

FAST = {"reserve": "1B", "retries": 0, "retry_delay": "0.01s"}


def settings_of(table: Path, **source: object) -> Settings:
    values = {"name": "urls", "table": str(table), "shard_images": 4, **source}
    return Settings.model_validate({"source": values, "download": FAST})


def rows(project: Project) -> dict[str, dict[str, Any]]:
    table = pq.read_table(project.raw / "manifest.parquet").to_pylist()
    return {row["url"].rpartition("/")[2]: row for row in table}


def downloads(project: Project) -> list[str]:
    folder = project.state / "downloads"
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def table(host: Host, tmp_path: Path) -> Path:
    for number in range(10):
        host.files[f"/{number}.jpg"] = photograph(number)
    path = tmp_path / "images.csv"
    path.write_text("url\n" + "".join(f"{host.address}/{number}.jpg\n" for number in range(10)))
    return path


def test_what_the_snapshot_holds_is_not_fetched_again(
    host: Host, checkout: Project, table: Path
) -> None:
    result = build_snapshot(checkout, settings_of(table))
    assert (result.images, result.shards, result.undecodable) == (10, 3, 0)
    assert downloads(checkout) == []
    asked = host.asked.copy()
    host.files["/10.jpg"] = photograph(10)
    with table.open("a") as file:
        file.write(f"{host.address}/10.jpg\n")
    assert build_snapshot(checkout, settings_of(table)).added == 1
    assert host.asked - asked == {"/10.jpg": 1}


def test_a_server_that_is_gone_harms_no_image_that_stands(
    host: Host, checkout: Project, table: Path
) -> None:
    build_snapshot(checkout, settings_of(table))
    host.down = True
    result = build_snapshot(checkout, settings_of(table, license="CC0"))
    assert (result.changed, result.undecodable) == (True, 0)
    assert {row["license"] for row in rows(checkout).values()} == {"CC0"}


def test_what_failed_is_named_and_tried_again(host: Host, checkout: Project, table: Path) -> None:
    host.files["/3.jpg"] = b"<html>sign in</html>"
    missing = host.files.pop("/7.jpg")
    result = build_snapshot(checkout, settings_of(table))
    assert (result.images, result.undecodable) == (10, 2)
    found = rows(checkout)
    assert "HTML" in found["3.jpg"]["error"]
    assert "404" in found["7.jpg"]["error"]
    assert (found["7.jpg"]["decodes"], found["7.jpg"]["bytes"]) == (False, 0)
    shards = digest_of_folder(checkout.raw)
    asked = host.asked.copy()
    assert not build_snapshot(checkout, settings_of(table)).changed
    assert host.asked - asked == {"/3.jpg": 1, "/7.jpg": 1}
    assert digest_of_folder(checkout.raw) == shards
    host.files["/7.jpg"] = missing
    assert build_snapshot(checkout, settings_of(table)).undecodable == 1
    assert rows(checkout)["7.jpg"]["error"] is None


def test_another_checksum_fetches_an_image_again(
    host: Host, checkout: Project, table: Path
) -> None:
    build_snapshot(checkout, settings_of(table))
    host.files["/2.jpg"] = photograph(77)
    digest = hashlib.sha256(photograph(77)).hexdigest()
    table.write_text(
        f"url,sha256\n{host.address}/1.jpg,\n{host.address}/2.jpg,{digest}\n"
        f"{host.address}/4.jpg,{'0' * 64}\n"
    )
    asked = host.asked.copy()
    build_snapshot(checkout, settings_of(table))
    assert host.asked - asked == {"/2.jpg": 1, "/4.jpg": 1}
    found = rows(checkout)
    assert found["2.jpg"]["sha256"] == digest
    assert "checksum" in found["4.jpg"]["error"]


def test_another_limit_of_pixels_judges_what_the_snapshot_holds(
    host: Host, checkout: Project, table: Path
) -> None:
    host.files["/4.jpg"] = photograph(4)[:-600]
    build_snapshot(checkout, settings_of(table))
    before = digest_of_folder(checkout.raw)
    host.down = True
    small = settings_of(table, max_pixels=72 * 72 - 1)
    assert build_snapshot(checkout, small).undecodable == 10
    assert {row["error"].partition("max_pixels = ")[2] for row in rows(checkout).values()} == {
        str(72 * 72 - 1)
    }
    assert not build_snapshot(checkout, small).changed
    smaller = settings_of(table, max_pixels=72 * 72 - 2)
    assert build_snapshot(checkout, smaller).changed, "the manifest names the limit"
    assert build_snapshot(checkout, settings_of(table)).undecodable == 1
    assert digest_of_folder(checkout.raw) == before


def test_what_an_older_ingest_did_not_measure_is_measured_without_fetching(
    host: Host, checkout: Project, table: Path
) -> None:
    build_snapshot(checkout, settings_of(table))
    before = rows(checkout)
    path = checkout.raw / "manifest.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["luma_spread"]), path)
    host.down = True
    assert build_snapshot(checkout, settings_of(table)).changed
    assert rows(checkout) == before


def test_a_shard_that_was_damaged_is_named_where_its_images_are_needed(
    host: Host, checkout: Project, table: Path
) -> None:
    build_snapshot(checkout, settings_of(table))
    damaged = checkout.raw / rows(checkout)["5.jpg"]["shard"]
    damaged.write_bytes(damaged.read_bytes().replace(photograph(5), photograph(5)[::-1]))
    before = digest_of_folder(checkout.raw)
    with pytest.raises(DataError, match=damaged.name) as caught:
        build_snapshot(checkout, settings_of(table, max_pixels=72 * 72 - 1))
    assert "dvc checkout" in caught.value.remedy
    assert digest_of_folder(checkout.raw) == before


def test_the_cache_holds_no_more_than_two_shards_need(
    host: Host, checkout: Project, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def spy(*arguments: Any, **options: Any) -> fetch.Report:
        report = download(*arguments, **options)
        held.append(sum(name.endswith(".jpg") for name in downloads(checkout)))
        return report

    monkeypatch.setattr(fetch, "download", spy)
    build_snapshot(checkout, settings_of(table))
    assert held
    assert max(held) <= 8


KILLED = """
import os, signal, sys
from pathlib import Path
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.data.ingest import build as module

class Bar:
    seen = 0
    def __init__(self, *_): pass
    def __enter__(self): return self.advance
    def __exit__(self, *_): pass
    def advance(self, count):
        self.seen += count
        if self.seen == int(sys.argv[3]): os.kill(os.getpid(), signal.SIGKILL)

settings = Settings.model_validate_json(sys.argv[2])
module.build_snapshot(Project(Path(sys.argv[1])), settings, Bar)
"""


@pytest.mark.parametrize("images", [6, 10])
def test_a_killed_ingest_fetches_nothing_twice(
    host: Host, checkout: Project, table: Path, tmp_path: Path, images: int
) -> None:
    values = {
        "source": {"name": "urls", "table": str(table), "shard_images": 4},
        "download": FAST,
    }
    command = [sys.executable, "-c", KILLED, str(checkout.root), json.dumps(values), str(images)]
    environment = {**os.environ, "NO_PROXY": "*"}
    killed = subprocess.run(command, check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert build_snapshot(checkout, settings_of(table)).images == 10
    assert max(host.asked.values()) == 1
    clean = Project(tmp_path / "clean")
    clean.root.mkdir()
    build_snapshot(clean, settings_of(table))
    assert digest_of_folder(checkout.raw) == digest_of_folder(clean.raw)
