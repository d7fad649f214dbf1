from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow import settings
from chromaflow.errors import ModelError
from chromaflow.models.networks.zhang2016 import Zhang2016
from chromaflow.project.paths import Project
from chromaflow.training.optimizers import rate_at

# The published layers: kernel, channels out, stride, dilation, and whether the block ends here with
# a normalization over the batch. Those of conv8_1 are transposed.
LAYERS = (
    *((3, 64, 1, 1, False), (3, 64, 2, 1, True)),
    *((3, 128, 1, 1, False), (3, 128, 2, 1, True)),
    *((3, 256, 1, 1, False), (3, 256, 1, 1, False), (3, 256, 2, 1, True)),
    *((3, 512, 1, 1, False), (3, 512, 1, 1, False), (3, 512, 1, 1, True)),
    *((3, 512, 1, 2, False), (3, 512, 1, 2, False), (3, 512, 1, 2, True)),
    *((3, 512, 1, 2, False), (3, 512, 1, 2, False), (3, 512, 1, 2, True)),
    *((3, 512, 1, 1, False), (3, 512, 1, 1, False), (3, 512, 1, 1, True)),
    *((4, 256, 2, 1, False), (3, 256, 1, 1, False), (3, 256, 1, 1, False)),
    (1, 313, 1, 1, False),
)


def published(**sizes: float) -> Zhang2016:
    with torch.device("meta"):
        return Zhang2016(313, **sizes)


def test_parameters_are_as_many_as_published() -> None:
    # 32.2 million are published; the exact number is the sum over the table.
    inputs, expected = 1, 0
    for kernel, outputs, *_ in LAYERS:
        expected += kernel * kernel * inputs * outputs + outputs
        inputs = outputs
    network = published()
    assert sum(p.numel() for p in network.parameters()) == expected == 32_230_393


def test_layers_are_those_of_the_table() -> None:
    network = published()
    given: list[tuple[int, int, int, int, bool]] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            kernel, stride, dilation = layer.kernel_size[0], layer.stride[0], layer.dilation[0]
            given.append((kernel, layer.out_channels, stride, dilation, False))
        elif isinstance(layer, nn.BatchNorm2d):
            given[-1] = (*given[-1][:4], True)
    assert tuple(given) == LAYERS
    for side in (176, 224):
        lightness = torch.empty(2, 1, side, side, device="meta")
        assert network(lightness).shape == (2, 313, side // 4, side // 4)


def test_it_computes_what_the_table_says() -> None:
    torch.manual_seed(0)
    network = Zhang2016(7, width=0.125)
    lightness = torch.rand(2, 1, 40, 64) * 100
    network(lightness)
    network = network.double().eval()
    state = dict(network.state_dict())
    names = iter(name for name in state if name.endswith(("weight", "running_mean")))

    def convolve(x: Tensor, kernel: int, stride: int, dilation: int) -> Tensor:
        name = next(names)
        weight, bias = state[name], state[name.replace("weight", "bias")]
        if kernel == 4:
            return F.conv_transpose2d(x, weight, bias, stride, padding=1)
        return F.conv2d(x, weight, bias, stride, dilation * (kernel // 2), dilation)

    x = (lightness.double() - 50) / 100
    for kernel, _, stride, dilation, normalized in LAYERS:
        x = convolve(x, kernel, stride, dilation)
        if kernel > 1:
            x = x.relu()
        if normalized:
            name = next(names)
            mean, variance = state[name], state[name.replace("mean", "var")]
            x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    torch.testing.assert_close(network(lightness.double()), x)


def test_width_and_depth_scale() -> None:
    def parameters(**sizes: float) -> int:
        return sum(p.numel() for p in published(**sizes).parameters())

    assert parameters(width=0.5) < parameters() / 3
    assert parameters(depth=0.5) < parameters(width=1.0)
    assert published(width=0.25, depth=0.5).config() == {
        "name": "zhang2016",
        "width": 0.25,
        "depth": 0.5,
    }


@pytest.mark.parametrize("sizes", [{"width": 0}, {"width": 9}, {"depth": -1}, {"depth": "1"}])
def test_sizes_are_checked(sizes: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=f"set model.network.{next(iter(sizes))}"):
        Zhang2016(3, **sizes)


def test_the_recipe_is_as_published() -> None:
    project = Project(Path(__file__).resolve().parents[3])
    training = settings.load(project, "sample", recipe="zhang2016").training
    rates = {step: rate_at(step, training) * training.learning_rate for step in (0, 199_999)}
    assert rates == {0: 3e-5, 199_999: 3e-5}
    # Published: 1e-5 and 3e-6; a factor at both drops cannot be nearer.
    for step, rate in ((200_000, 1e-5), (374_999, 1e-5), (375_000, 3e-6)):
        assert rate_at(step, training) * training.learning_rate == pytest.approx(rate, rel=0.06)
