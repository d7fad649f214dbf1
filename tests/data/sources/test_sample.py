import hashlib
import io
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from chromaflow.data.sources.base import Record, open_source
from chromaflow.data.sources.sample import MOST_TILES, encode_png
from chromaflow.errors import DataError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings

PROJECT = Project(None)  # type: ignore[arg-type]  # the sample needs no checkout


def records(tile: int = 128) -> dict[str, Record]:
    settings = Settings.model_validate({"source": {"tile": tile}})
    sample = open_source("sample", PROJECT, settings)
    found = {record.url: record for record in sample.records()}
    assert len(found) == sample.total
    return found


def pixels(record: Record) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(record.read())))


def test_several_hundred_tiles_of_which_no_scene_outnumbers_the_others() -> None:
    found = records()
    assert 400 <= len(found) <= 800
    scenes = Counter(url.partition("#")[0] for url in found)
    assert len(scenes) == 8
    assert max(scenes.values()) <= 2 * MOST_TILES
    assert min(scenes.values()) > 40
    assert all(record.license and record.label for record in found.values())


def test_tiles_show_what_their_urls_say() -> None:
    found = records()
    full = pixels(found["skimage:chelsea.png#64,32,128"])
    np.testing.assert_array_equal(full, data.chelsea()[32:160, 64:192])
    half = pixels(found["skimage:coffee.png#64,128,256"])
    square = data.coffee()[128:384, 64:320].astype(float)
    mean = square.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - mean).max() <= 0.5


def test_both_views_of_the_motorcycle_are_one_photograph() -> None:
    urls = [url for url in records() if "motorcycle" in url]
    assert {url.partition("#")[0] for url in urls} == {"skimage:motorcycle"}
    assert {url.partition("#")[2].partition(",")[0] for url in urls} == {"left", "right"}


def test_bytes_are_the_same_on_every_machine() -> None:
    digest = hashlib.sha256()
    for url, record in records().items():
        if ".jpg" not in url:  # those pixels come from the machine's JPEG decoder
            digest.update(record.read())
    assert digest.hexdigest()[:16] == "aa64aba928a760da"


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 700, 3), (200, 150, 3)])
def test_png_holds_the_pixels_uncompressed(shape: tuple[int, int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    file = encode_png(values)
    with Image.open(io.BytesIO(file)) as image:
        image.verify()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), values)
    assert len(zlib.compress(file, 9)) > values.size * 0.9


def test_a_tile_larger_than_every_photograph_is_named() -> None:
    with pytest.raises(DataError, match=r"source\.tile = 2000"):
        records(2000)


def test_without_the_photographs_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("chromaflow.data.sources.sample._folder", lambda: tmp_path)
    with pytest.raises(DataError, match="scikit-image") as caught:
        records()
    assert "scikit-image" in caught.value.remedy
