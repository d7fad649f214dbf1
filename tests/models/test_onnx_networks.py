"""The command's export: a file that a runtime without torch can use, or a clear reason why not."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from chromaflow.errors import ModelError, UserError
from chromaflow.models import Colorizer, build_model
from chromaflow.models import onnx as module
from chromaflow.models.onnx import export_onnx
from chromaflow.settings import Model


@pytest.fixture(scope="module")
def model() -> Colorizer:
    torch.manual_seed(0)
    return build_model(Model(network={"name": "richart", "width": 0.125})).eval()


def test_the_file_gives_the_same_color(model: Colorizer, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model.onnx"
    assert export_onnx(model, target, side=40) < 1e-2
    session = onnxruntime.InferenceSession(target)
    lightness = np.random.default_rng(0).uniform(0, 100, (1, 1, 40, 40)).astype(np.float32)
    (ab,) = session.run(["ab"], {"lightness": lightness})
    with torch.inference_mode():
        expected = model.predict_ab(torch.from_numpy(lightness)).numpy()
    np.testing.assert_allclose(ab, expected, atol=1e-2)


def test_colors_that_differ_are_no_file(
    model: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differ from torch's"):
        export_onnx(model, tmp_path / "model.onnx", side=40)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_told(
    model: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "refine", "crf")
    with pytest.raises(ModelError, match="refinement crf cannot be exported"):
        export_onnx(model, tmp_path / "model.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"chromaflow\[export\]"):
        export_onnx(model, tmp_path / "model.onnx")
