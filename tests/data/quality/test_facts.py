"""The facts that the rules judge, from real photographs and their toned versions."""

import io
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from skimage import data

from chromaflow.data.ingest.inspect import inspect
from chromaflow.data.quality import expectations
from chromaflow.data.quality import facts as table
from chromaflow.data.snapshot.manifest import SCHEMA
from chromaflow.settings import Quality
from tests.support.manifests import row

PHOTOGRAPHS = {
    "astronaut": data.astronaut(),
    "cat": data.chelsea(),
    "coffee": data.coffee(),
    "rocket": data.rocket(),
}
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])


def grey_of(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("L"), float)[..., None]


def duotone(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Black over a color to white, as printers do."""
    light, middle = grey_of(pixels) / 255, np.array(color, float)
    point = middle @ [0.299, 0.587, 0.114] / 255
    dark = light / point * middle
    return np.where(light < point, dark, middle + (255 - middle) * (light - point) / (1 - point))


VERSIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "grey": lambda pixels: np.repeat(grey_of(pixels), 3, axis=2),
    "faded": lambda pixels: 0.05 * pixels + 0.95 * grey_of(pixels),
    "sepia": lambda pixels: pixels @ SEPIA.T,
    "brown": lambda pixels: duotone(pixels, (112, 66, 20)),
    "cyan": lambda pixels: duotone(pixels, (30, 90, 140)),
    "violet": lambda pixels: duotone(pixels, (100, 40, 120)),
    "blank": lambda pixels: np.full_like(pixels, (120, 150, 90)),
    "colored": lambda pixels: pixels,
}
KINDS = {"faded": "grey", "brown": "sepia", "cyan": "tinted", "violet": "tinted", "colored": ""}


def kind_of(pixels: np.ndarray) -> str:
    """What the color rules call a picture; empty where it passes."""
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    found = row(1, **inspect(buffer.getvalue(), 10**8)._asdict())
    manifest = pa.Table.from_pylist([found], schema=SCHEMA)
    facts = table.row_facts(manifest, np.array([np.nan]), Quality()).iloc[0]
    for rule in expectations.row_rules(Quality(), [], [])["colors"]:
        value = facts[rule.expectation.column]
        if value < rule.expectation.min_value:
            (tone,) = table.tones(manifest, np.array([0]))
            return rule.reason.partition(":")[0].replace("{tone}", tone)
    return ""


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("version", VERSIONS)
def test_photographs_and_their_toned_versions(name: str, version: str) -> None:
    made = VERSIONS[version](PHOTOGRAPHS[name])
    assert kind_of(made) == KINDS.get(version, version)


def test_a_picture_of_one_hue_and_many_strengths_is_no_print() -> None:
    """An evening sky: orange throughout, yet its strength does not follow its lightness."""
    across, down = np.meshgrid(np.linspace(0, 1, 256), np.linspace(0, 1, 256))
    strength = 0.4 + 0.6 * np.abs(np.sin(7 * across + 5 * down))
    light = 60 + 150 * down
    orange = np.stack([light, light * (1 - 0.45 * strength), light * (1 - 0.8 * strength)], axis=-1)
    assert kind_of(orange) == ""


def test_nothing_is_asked_of_the_color_of_historic_photographs() -> None:
    entries = [row(1, split_hint="historic", mean_chroma=0.0), row(2, mean_chroma=0.0)]
    manifest = pa.Table.from_pylist(entries, schema=SCHEMA)
    facts = table.row_facts(manifest, np.full(2, np.nan), Quality())
    assert facts["mean_chroma"].isna().tolist() == [True, False]
    assert facts["measured"].all()


def test_rows_that_decode_and_lack_a_measure_are_not_measured() -> None:
    entries = [row(1, free_chroma=None), row(2, decodes=False, luma_spread=None), row(3)]
    manifest = pa.Table.from_pylist(entries, schema=SCHEMA)
    facts = table.row_facts(manifest, np.full(3, np.nan), Quality())
    assert facts["measured"].tolist() == [False, True, True]


def test_copies_are_told_by_age_and_historic_ones_are_older() -> None:
    entries = [
        row(1, shard="b/0.tar"),
        row(2, shard="a/0.tar"),
        row(3, shard="z/0.tar", split_hint="historic"),
        row(4, decodes=False),
    ]
    manifest = pa.Table.from_pylist(entries, schema=SCHEMA)
    for contents, expected in (([0, 0, 1, 0], [1, -1, -1, -1]), ([0, 0, 0, 0], [2, 2, -1, -1])):
        found = table.copies_of(manifest, np.array(contents), table.age_order(manifest))
        assert np.nan_to_num(found, nan=-1).tolist() == expected
