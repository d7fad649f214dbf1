import json
from pathlib import Path

import torch

from chromaflow.evaluation.baselines import BASELINES, SYSTEMS


def test_each_gives_every_pixel_one_color(tmp_path: Path) -> None:
    (tmp_path / "statistics.json").write_text(json.dumps({"mean_ab": [3.0, 9.0]}))
    lightness = torch.rand(2, 1, 4, 5) * 100
    colors = {}
    for name, baseline in BASELINES.items():
        ab = baseline.predictor(tmp_path)(lightness)
        assert ab.shape == (2, 2, 4, 5)
        (colors[name],) = {tuple(color) for color in ab.movedim(1, -1).reshape(-1, 2).tolist()}
    assert colors == {"grey": (0.0, 0.0), "mean_color": (3.0, 9.0)}


def test_the_systems_are_the_model_what_it_must_beat_and_the_truth() -> None:
    assert list(SYSTEMS) == ["model", "mean_color", "grey", "truth"]
    assert all(SYSTEMS[name] == baseline.label for name, baseline in BASELINES.items())
