"""A held-out split of real photographs, in place of Lab shards."""

from collections.abc import ItemsView
from pathlib import Path

import numpy as np
import pytest
from skimage import color, data

from chromaflow.color.stored import encode_stored

PHOTOGRAPHS = {
    "rocket/1": data.rocket()[:384:4, ::4],
    "astronaut": data.astronaut()[::5, ::4],
    "cat": data.chelsea()[::4, ::4],
    "coffee": data.coffee()[::5, ::5],
    "retina": data.retina()[::16, ::16],
}


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    stored = {
        name: encode_stored(color.rgb2lab(photograph)) for name, photograph in PHOTOGRAPHS.items()
    }

    def read_split(_: Path) -> ItemsView[str, np.ndarray]:
        return stored.items()

    monkeypatch.setattr("chromaflow.evaluation.measure.read_split", read_split)
    monkeypatch.setattr("chromaflow.evaluation.strips.read_split", read_split)
    return stored
