"""Every network, by its name alone: shapes, batches, odd sizes, torch.compile, ONNX."""

import copy
import functools
import warnings

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.models import NETWORKS, Colorizer, build_network, network_sizes

# Why a network cannot be exported, by its name; empty: all can.
NO_ONNX: dict[str, str] = {}
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


class Prediction(nn.Module):
    """What is exported: lightness to color."""

    def __init__(self, model: Colorizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, lightness: Tensor) -> Tensor:
        return self.model.predict_ab(lightness)


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
def test_exported_it_gives_the_same_color(name: str, one_onnx_registry: None) -> None:
    if name in NO_ONNX:
        pytest.skip(NO_ONNX[name])
    model = small(name)
    lightness = grey(*smallest(model))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = model.predict_ab(lightness).numpy()
        program = torch.onnx.export(
            Prediction(model), (lightness,), dynamo=True, optimize=False, verbose=False
        )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (given,) = session.run(None, {session.get_inputs()[0].name: lightness.numpy()})
    assert abs(given - expected).max() < 1e-2
