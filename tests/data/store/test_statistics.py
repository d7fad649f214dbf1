import numpy as np
import pytest

from chromaflow.data.store import statistics


def test_colors_are_counted_exactly_beyond_what_a_float_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "_EXACT", 1000)
    random = np.random.default_rng(0)
    images = [random.integers(0, 9, (20, 30, 3), np.uint8) for _ in range(5)]
    colors = statistics.ColorCount()
    expected = np.zeros((256, 256), np.int64)
    for lab in images:
        colors.add(lab)
        np.add.at(expected, (lab[..., 1], lab[..., 2]), 1)
        assert np.array_equal(colors.total(), expected)
