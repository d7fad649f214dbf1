"""The command's export: a file that a runtime without torch can use, or a clear reason why not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import ModelError, UserError
from chromaflow.models import Colorizer, Network, build_model
from chromaflow.models import onnx as module
from chromaflow.models.networks.base import Guide, Hints
from chromaflow.models.onnx import OnnxColorizer, export_onnx
from chromaflow.refine import REFINEMENTS
from chromaflow.settings import Model

pytestmark = pytest.mark.usefixtures("one_onnx_registry")
DIGEST = "ab" * 32


def built(network: str, **sizes: float) -> Colorizer:
    torch.manual_seed(0)
    settings = Model.model_validate(
        {
            "network": {"name": network, **sizes},
            "codebook": "regression",
            "refine": "guided",
            "size": 96,
        }
    )
    return build_model(settings).eval()


@pytest.fixture(scope="module")
def model() -> Colorizer:
    return built("richart", width=0.125)


@pytest.fixture(scope="module")
def exported(
    model: Colorizer, tmp_path_factory: pytest.TempPathFactory, one_onnx_registry: None
) -> Path:
    target = tmp_path_factory.mktemp("deep") / "er" / "model.onnx"
    assert export_onnx(model, target, digest=DIGEST) < 1e-2
    return target


@pytest.fixture
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def grey(height: int, width: int) -> Tensor:
    return torch.rand(1, 1, height, width, generator=torch.manual_seed(height)) * 100


def test_another_runtime_gives_the_same_color_of_any_size(
    model: Colorizer, exported: Path, no_gradients: None
) -> None:
    session = onnxruntime.InferenceSession(exported)
    for lightness in (grey(40, 40), grey(61, 47)):
        (ab,) = session.run(["ab"], {"lightness": lightness.numpy()})
        expected = model.predict_ab(lightness, refine="none")
        np.testing.assert_allclose(ab, expected.numpy(), atol=1e-2)


def test_read_again_it_is_the_model(model: Colorizer, exported: Path, no_gradients: None) -> None:
    read = OnnxColorizer(exported)
    assert (read.name, read.digest, read.size, read.guide) == ("richart", DIGEST, 96, None)
    lightness = grey(50, 70)
    torch.testing.assert_close(
        read.predict_ab(lightness), model.predict_ab(lightness), atol=1e-2, rtol=0
    )
    for name in REFINEMENTS:
        torch.testing.assert_close(
            read.predict_ab(lightness, refine=name),
            model.predict_ab(lightness, refine=name),
            atol=1e-2,
            rtol=0,
        )
    with pytest.raises(ModelError, match="takes no hints"):
        read.predict_ab(lightness, Hints(torch.zeros(1, 3, 50, 70), torch.zeros(1, 316)))


def test_a_network_of_large_strides_mirrors_the_edges_as_the_model_does(
    tmp_path: Path, no_gradients: None
) -> None:
    model = built("zhang2016", width=0.0625)
    assert model.multiple == 8
    export_onnx(model, tmp_path / "model.onnx", digest=DIGEST)
    lightness = grey(61, 47)
    torch.testing.assert_close(
        OnnxColorizer(tmp_path / "model.onnx").predict_ab(lightness),
        model.predict_ab(lightness),
        atol=1e-2,
        rtol=0,
    )


def test_a_file_for_one_size_takes_no_other(
    model: Colorizer, tmp_path: Path, no_gradients: None
) -> None:
    target = tmp_path / "model.onnx"
    assert export_onnx(model, target, digest=DIGEST, side=40) < 1e-2
    (given,) = onnxruntime.InferenceSession(target).get_inputs()
    assert given.shape == [1, 1, 40, 40]
    read, lightness = OnnxColorizer(target), grey(40, 40)
    assert read.size == 40
    torch.testing.assert_close(
        read.predict_ab(lightness), model.predict_ab(lightness), atol=1e-2, rtol=0
    )
    with pytest.raises(ModelError, match="takes pictures of 40 × 40 pixels only, not 60 × 40"):
        read.predict_ab(grey(40, 60))


def test_colors_that_differ_are_no_file(
    model: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differ from torch's"):
        export_onnx(model, tmp_path / "model.onnx", digest=DIGEST, side=40)
    assert not list(tmp_path.iterdir())


class OneSize(Network):
    """Looks at pictures of the size that is traced only."""

    name, stride, multiple = "one_size", 1, 1

    def forward(self, lightness: Tensor, guide: Guide | None = None) -> Tensor:  # noqa: ARG002
        return (lightness + torch.ones(256, 320)).expand(-1, 2, -1, -1) / 100

    def config(self) -> dict[str, Any]:
        return {"name": self.name}


class Places(OneSize):
    """Looks at places as attention_fusion does, which ONNX Runtime cannot follow at any size."""

    name = "places"

    def forward(self, lightness: Tensor, guide: Guide | None = None) -> Tensor:  # noqa: ARG002
        x = torch.linspace(-1, 1, lightness.shape[3]).expand_as(lightness)
        y = torch.linspace(-1, 1, lightness.shape[2])[:, None].expand_as(lightness)
        return torch.cat([x, y], dim=1)


@pytest.mark.parametrize("network", [OneSize, Places])
def test_a_network_that_takes_one_size_only_is_told_with_the_way_out(
    network: type[Network], tmp_path: Path
) -> None:
    model = Colorizer(network(), build_codebook("regression")).eval()
    with pytest.raises(ModelError, match="exported for pictures of any size") as caught:
        export_onnx(model, tmp_path / "model.onnx", digest=DIGEST)
    assert "--side 256" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_library_that_is_missing_is_told(
    model: Colorizer, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"chromaflow\[export\]"):
        OnnxColorizer(exported)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"chromaflow\[export\]"):
        export_onnx(model, tmp_path / "model.onnx", digest=DIGEST)


def test_what_chromaflow_did_not_export_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing\.onnx cannot be read"):
        OnnxColorizer(tmp_path / "missing.onnx")
    broken, foreign = tmp_path / "broken.onnx", tmp_path / "foreign.onnx"
    content = exported.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    foreign.write_bytes(content.replace(b"chromaflow", b"othermaker"))
    for path in (broken, foreign):
        with pytest.raises(
            ModelError, match=f"{path.name} is not a model that chromaflow exported"
        ):
            OnnxColorizer(path)
