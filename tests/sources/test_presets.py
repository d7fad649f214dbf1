"""Each preset at a small count, against a server that has each host's own layout."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chromaflow import settings
from chromaflow.project import SPLITS, Project
from chromaflow.settings import Settings
from chromaflow.sources import wordnet
from chromaflow.sources.ingest import ingest
from tests.sources import hosts
from tests.sources.hosts import Host, parquet, photograph

ROOT = Path(__file__).resolve().parents[2]
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


def imagenet_rows(count: int, labels: list[int]) -> list[dict]:
    return [
        {"image": {"bytes": photograph(n), "path": None}, "label": labels[n % len(labels)]}
        for n in range(count)
    ]


def serve(name: str, host: Host) -> str:
    """The address of the host that a preset asks, here with few images."""
    source = preset(name).source
    if source.name == "cvcl":
        return hosts.cvcl(host, {"opencountry": 12, "coast": 9})
    if source.name == "coco":
        return hosts.coco(host, 30)
    if source.name == "unsplash":
        return hosts.unsplash(host, 30)
    wnids = wordnet.categories()
    castle = wnids.index("n02980441")
    names = [f"n{n:08d}" for n in range(100)] if source.name == "huggingface" else wnids
    labels = [0, castle, 1] if source.name == "imagenet" else [0, 1]
    files = {"data/train-00000-of-00001.parquet": parquet(imagenet_rows(30, labels), names, 6)}
    repository = source.repository or "ILSVRC/imagenet-1k"
    return hosts.hub(host, repository, files, revision=source.revision)


@pytest.mark.parametrize(
    "name",
    [
        *("cvcl", "cvcl-open-country", "coco-3500", "coco-13000", "coco-25k", "coco-40k"),
        *("imagenet-60000", "imagenet-architecture", "imagenet-mini", "unsplash-9500"),
    ],
)
def test_a_preset_fetches_its_images(
    name: str, host: Host, checkout: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    values = preset(name).model_dump()
    values["source"] |= {"address": serve(name, host), "shard_images": 8}
    values["source"]["images"] = min(values["source"]["images"], 10)
    values |= {"download": {"reserve": "1B", "retries": 0}}
    for group in list(values):
        if group not in ("source", "download"):
            del values[group]
    result = ingest(checkout, Settings.model_validate(values))
    expected = {"cvcl": 21, "cvcl-open-country": 12, "imagenet-mini": 30}.get(name, 10)
    assert (result["images"], result["undecodable"]) == (expected, 0)
    rows = pq.read_table(checkout.raw / "manifest.parquet").to_pylist()
    assert all(row["license"] for row in rows)
    if name == "imagenet-architecture":
        assert {row["label"] for row in rows} == {"n02980441"}
    assert not ingest(checkout, Settings.model_validate(values))["changed"]
