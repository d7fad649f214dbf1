"""Each preset at a small count, against a server that has each host's own layout."""

import io
import re
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chromaflow import settings
from chromaflow.data.ingest.build import build_snapshot
from chromaflow.data.sources import wordnet
from chromaflow.project.paths import Project
from chromaflow.project.splits import SPLITS
from chromaflow.settings import Settings, SourceSettings
from chromaflow.settings.sources import HuggingFaceSource, ImageNetSource
from chromaflow.steps.validate import validate
from tests.support import hosts, photographs
from tests.support.hosts import Host

ROOT = Path(__file__).resolve().parents[3]
COUNTS = {
    "cvcl-open-country": (361, 0, None),
    "coco-3500": (3500, 500, 1000),
    "coco-13000": (13000, 2000, 1000),
    "coco-25k": (25000, 2000, 1000),
    "coco-40k": (40000, 2000, 1000),
    "imagenet-60000": (60000, 0, 500),
    "unsplash-9500": (9500, 0, 500),
}


def preset(name: str) -> Settings:
    return settings.load(Project(ROOT), name)


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name: str) -> None:
    values = preset(name)
    for part, count in zip(SPLITS, COUNTS[name], strict=True):
        if count is not None:
            assert getattr(values.split, part) == count
    published = [count for count in COUNTS[name] if count]
    if values.source.images:
        # Some are refused: grey ones, duplicates, what the server no longer has.
        assert sum(published) * 1.04 < values.source.images < sum(published) * 1.25


def test_every_preset_says_how_to_run_it() -> None:
    for name in settings.preset_names(Project(ROOT)):
        text = (ROOT / "configs" / f"{name}.yaml").read_text()
        if name != "sample":
            assert f"chromaflow retrain --preset {name}" in text
            assert re.search(rf"^  model: chromaflow-{name}$", text, re.MULTILINE)


def served_hub(host: Host, source: SourceSettings) -> str:
    assert isinstance(source, HuggingFaceSource)
    names = wordnet.categories()
    return hosts.imagenet(host, photographs.imagenet(), names, source.repository, source.revision)


SERVED: dict[str, Callable[[Host, SourceSettings], str]] = {
    "cvcl": lambda host, _: hosts.cvcl(host, photographs.cvcl()),
    "coco": lambda host, _: hosts.coco(host, photographs.coco()),
    "unsplash": lambda host, _: hosts.unsplash(host, photographs.coco()),
    "imagenet": lambda host, _: hosts.imagenet(host, photographs.imagenet(), wordnet.categories()),
    "huggingface": served_hub,
}


def scaled(name: str, host: Host) -> Settings:
    """A preset whose counts are scaled to what there is to serve, as `--set` would do it."""
    values = preset(name)
    source, split = values.source, values.split
    alike = source.name in ("coco", "unsplash")
    there = len(photographs.coco() if alike else photographs.imagenet())
    factor = there / source.images if source.images else 1
    if name == "cvcl-open-country" and not photographs.real():
        factor = 25 / split.train
    overrides = {f"split.{part}": getattr(split, part) for part in SPLITS}
    for part, asked in overrides.items():
        if isinstance(asked, int) and asked:
            overrides[part] = max(1, int(asked * factor))
    if name == "imagenet-architecture":
        # So few have no group in each share.
        overrides |= {"split.validation": 1, "split.test": 1, "quality.min_images": 1}
    overrides |= {
        "source.images": min(source.images, there),
        "source.shard_images": 16,
        "source.address": SERVED[source.name](host, source),
        "download.reserve": "1B",
        "download.retries": 0,
    }
    return settings.load(Project(ROOT), name, [f"{k}={v}" for k, v in overrides.items()])


@pytest.mark.parametrize(
    "name",
    [
        *("cvcl", "cvcl-open-country", "coco-3500", "coco-13000", "coco-25k", "coco-40k"),
        *("imagenet-60000", "imagenet-architecture", "imagenet-mini", "unsplash-9500"),
    ],
)
def test_a_preset_comes_out_as_it_asks(
    name: str, host: Host, checkout: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    host.gated.add("imagenet-1k")
    host.welcome.add("Bearer hf_test")
    values = scaled(name, host)
    result = build_snapshot(checkout, values)
    assert (result.undecodable, result.skipped) == (0, 0)
    if name != "imagenet-architecture":
        assert result.images == (values.source.images or result.images)
    asked = host.asked.copy()
    assert not build_snapshot(checkout, values).changed
    assert not [path for path in host.asked - asked if path.endswith(".jpg")]
    report = validate(checkout, values).report
    for part in SPLITS:
        wanted = getattr(values.split, part)
        if isinstance(wanted, int) and wanted:
            assert report.splits[part] == wanted
    assert report.accepted + report.quarantined + report.unused == result.images
    rows = pq.read_table(checkout.raw / "manifest.parquet").to_pylist()
    assert all(row["license"] for row in rows)
    if name == "imagenet-architecture":
        assert isinstance(values.source, ImageNetSource)
        assert {row["label"] for row in rows} <= wordnet.choose(values.source.categories)


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


def pack_imagenet(folder: Path) -> Path:
    """ILSVRC2012_img_train.tar: a tar archive that holds one for each category."""
    by_category: dict[str, dict[str, bytes]] = defaultdict(dict)
    for number, (wnid, content) in enumerate(photographs.imagenet()):
        by_category[wnid][f"{wnid}_{number}.JPEG"] = content
    inner = {f"{k}.tar": tar(folder / k, v).read_bytes() for k, v in by_category.items()}
    return tar(folder / "ILSVRC2012_img_train.tar", inner)


def on_disk(name: str, host: Host, folder: Path) -> dict[str, object]:
    """The settings for what a preset's host gives, here as its archives on disk."""
    if name == "imagenet":
        return {"source.archive": pack_imagenet(folder)}
    for path, content in host.files.items():
        if path.endswith((".zip", "/latest")):
            (folder / f"{Path(path).stem}.zip").write_bytes(content)
    archives = {"cvcl": Path(photographs.CVCL).stem, "unsplash": "latest", "coco": "train2017"}
    found: dict[str, object] = {"source.archive": folder / f"{archives[name]}.zip"}
    if name == "coco":
        found["source.annotations"] = folder / "annotations_trainval2017.zip"
        with zipfile.ZipFile(folder / "train2017.zip", "w") as archive:
            for path, content in host.files.items():
                if path.endswith(".jpg"):
                    archive.writestr(path.removeprefix("/"), content)
    return found


@pytest.mark.parametrize(
    "name", ["cvcl-open-country", "coco-3500", "imagenet-60000", "unsplash-9500"]
)
def test_archives_on_disk_give_the_same_photographs(
    name: str, host: Host, checkout: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    values = scaled(name, host)
    (tmp_path / "disk").mkdir()
    given = on_disk(values.source.name, host, tmp_path / "disk")
    source = {key.partition(".")[2]: str(path) for key, path in given.items()} | {"address": ""}
    values = values.model_copy(update={"source": values.source.model_copy(update=source)})
    before = host.asked.copy()
    result = build_snapshot(checkout, values)
    assert (result.undecodable, result.images) == (
        0,
        values.source.images or result.images,
    )
    fetched = host.asked - before
    # Of Unsplash only the table can be on disk.
    assert len(fetched) == (result.images if values.source.name == "unsplash" else 0)
    assert validate(checkout, values).report.splits["train"] == values.split.train
