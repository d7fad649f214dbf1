"""Every network, by its name alone: shapes, batches, odd sizes, torch.compile, ONNX."""

import copy
import functools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.models import NETWORKS, Colorizer, build_network, network_sizes, onnx
from chromaflow.models.onnx import OnnxColorizer, export_onnx

# Networks that are exported for pictures of one size only, and a side that they take.
ONE_SIZE = {"attention_fusion": 64}
# The backbone is one that timm makes for tests, of a few layers: exporting takes its time a layer.
SIZES = {"width": 0.125, "depth": 0.34, "backbone": "test_resnet", "weights": "none"}
# The one that is exported most keeps its own backbone.
WHOLE = "efficientnet_lite0"


@functools.cache
def small(name: str) -> Colorizer:
    torch.manual_seed(0)
    sizes = {size: SIZES[size] for size in network_sizes(name) & SIZES.keys()}
    if name == WHOLE:
        del sizes["backbone"]
    book = build_codebook("grid313")
    return Colorizer(build_network(name, book.channels, **sizes), book).eval()


def grey(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.manual_seed(1)) * 100


def smallest(model: Colorizer) -> tuple[int, int, int, int]:
    side = model.multiple
    return 1, 1, side, 2 * side if side <= 32 else side


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes(name: str) -> None:
    model = small(name)
    side = 224 + -224 % model.multiple
    with torch.inference_mode():
        logits = model(grey(2, 1, side, side))
    assert logits.shape == (2, 313, side // model.stride, side // model.stride)
    assert logits.std() > 0
    assert model.config()["network"]["name"] == name


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(64, 64), (61, 47), (33, 90)])
def test_each_of_a_batch_is_colored_as_if_alone(name: str, size: tuple[int, int]) -> None:
    model, lightness = small(name), grey(2, 1, *size)
    with torch.inference_mode():
        together = model.predict_ab(lightness)
        alone = model.predict_ab(lightness[1:])
    assert together.shape == (2, 2, *size)
    torch.testing.assert_close(together[1:], alone, atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_learns_in_half_precision(name: str) -> None:
    network = copy.deepcopy(small(name)).network.train()
    batch, *shape = smallest(small(name))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network.outputs(grey(batch + 1, *shape))
    outputs.logits.float().square().mean().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("name", NETWORKS)
def test_compiles_as_one_graph(name: str) -> None:
    model = small(name)
    lightness = grey(*smallest(model))
    with torch.inference_mode():
        expected = model.network(lightness)
        torch._dynamo.reset()
        given = torch.compile(model.network, backend="eager", fullgraph=True)(lightness)
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_it_gives_the_same_color(
    name: str, one_onnx_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Smaller pictures than a user's, so that most of the time is the exporter's.
    monkeypatch.setattr(onnx, "_SHAPES", ((64, 96), (96, 64)))
    model, side = small(name), ONE_SIZE.get(name, 0)
    difference = export_onnx(model, tmp_path / "model.onnx", digest="0" * 64, side=side)
    assert difference < 1e-2
    assert OnnxColorizer(tmp_path / "model.onnx").name == name
