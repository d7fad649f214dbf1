from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from skimage.color import lab2rgb
from torch import Tensor

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import ModelError, SettingsError
from chromaflow.metrics.colorfulness import colorfulness as metric
from chromaflow.models.backbones.efficientnet_lite0 import read_package
from chromaflow.training.losses import Step
from chromaflow.training.losses.pictures import Perceptual, colorfulness
from tests.support.layers import gradient

MakeStep = Callable[..., Step]
Photographs = tuple[Tensor, Tensor]
pytestmark = pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")


@pytest.fixture(scope="module")
def predicted(make_step: MakeStep, photographs: Photographs) -> Step:
    """A prediction of the colors of the next photograph."""
    lightness, ab = photographs
    logits = build_codebook("regression").ideal_logits(ab.roll(1, 0))
    return make_step(logits, ab, lightness=lightness)


def rgb(lightness: Tensor, ab: Tensor) -> np.ndarray:
    lab = torch.cat([lightness, ab], dim=1).movedim(1, -1).numpy()
    return np.stack([lab2rgb(image) for image in lab]).clip(0, 1)


def test_colorfulness_is_that_of_the_metric(predicted: Step) -> None:
    expected = 1 - metric(predicted.rgb).mean() / 100
    torch.testing.assert_close(colorfulness(predicted), expected)


def test_colorfulness_agrees_with_numpy(predicted: Step) -> None:
    values = 255 * rgb(predicted.lightness, predicted.ab)
    found = []
    for red, green, blue in values.transpose(0, 3, 1, 2):
        rg, yb = np.abs(red - green), np.abs(0.5 * (red + green) - blue)
        found.append(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))
    assert float(colorfulness(predicted)) == pytest.approx(1 - np.mean(found) / 100, abs=1e-3)


@pytest.mark.parametrize("level", [0.0, 50.0, 100.0])
def test_the_gradient_of_colorfulness_is_finite_for_grey(make_step: MakeStep, level: float) -> None:
    logits = torch.zeros(2, 2, 8, 8, requires_grad=True)
    step = make_step(logits, torch.zeros(2, 2, 8, 8), lightness=torch.full((2, 1, 8, 8), level))
    loss = colorfulness(step)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1, abs=1e-3)
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_colorfulness_draws_to_color(make_step: MakeStep, photographs: Photographs) -> None:
    lightness, ab = photographs
    logits = build_codebook("regression").ideal_logits(0.3 * ab).requires_grad_()
    colorfulness(make_step(logits, ab, lightness=lightness)).backward()
    more = make_step((logits - 100 * gradient(logits)).detach(), ab, lightness=lightness)
    assert metric(more.rgb).mean() > metric(make_step(logits, ab, lightness=lightness).rgb).mean()


@pytest.fixture(scope="module")
def perceptual() -> Perceptual:
    return Perceptual("", "published")


def test_perceptual_is_the_distance_in_published_features(
    perceptual: Perceptual, predicted: Step
) -> None:
    network = timm.create_model("tf_efficientnet_lite0").eval()
    state = network.state_dict()
    names = [name for name in state if "num_batches" not in name]
    network.load_state_dict(state | dict(zip(names, read_package(), strict=True)))

    def features(pixels: np.ndarray) -> list[Tensor]:
        x = torch.from_numpy(pixels).float().movedim(-1, 1) * 2 - 1
        x, kept = network.bn1(network.conv_stem(x)), []
        for number, stage in enumerate(network.blocks):
            x = stage(x)
            if number in {0, 1, 2, 4, 6}:
                kept.append(x)
        return kept

    with torch.no_grad():
        pairs = zip(
            features(rgb(predicted.lightness, predicted.ab)),
            features(rgb(predicted.lightness, predicted.true_ab)),
            strict=True,
        )
        distances = [float((one - other).abs().mean()) for one, other in pairs]
    expected = np.dot(distances, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])
    assert float(perceptual(predicted)) == pytest.approx(expected, rel=0.01)


def test_perceptual_is_nothing_for_the_truth(
    perceptual: Perceptual, make_step: MakeStep, photographs: Photographs, predicted: Step
) -> None:
    lightness, ab = photographs
    logits = build_codebook("regression").ideal_logits(ab)
    truth = float(perceptual(make_step(logits, ab, lightness=lightness)))
    assert truth < 0.01 * float(perceptual(predicted))


def test_only_the_prediction_learns(
    perceptual: Perceptual, make_step: MakeStep, photographs: Photographs
) -> None:
    lightness, ab = photographs
    before = {name: t.clone() for name, t in perceptual.backbone.state_dict().items()}
    logits = torch.zeros(3, 2, 64, 64, requires_grad=True)
    perceptual(make_step(logits, ab, lightness=lightness)).backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and logits.grad.any()
    assert all(p.grad is None for p in perceptual.backbone.parameters())
    assert not perceptual.backbone.training
    after = perceptual.backbone.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_another_backbone_comes_from_a_file(
    tmp_path: Path, make_step: MakeStep, photographs: Photographs
) -> None:
    torch.manual_seed(0)
    name, file = "test_efficientnet", tmp_path / "weights.safetensors"
    safetensors.torch.save_file(timm.create_model(name).state_dict(), file)
    lightness, ab = photographs
    step = make_step(torch.zeros(3, 2, 64, 64), ab, lightness=lightness)
    assert float(Perceptual(name, str(file))(step)) > 0


def test_a_backbone_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="loss perceptual: timm has no network 'vgg61'") as caught:
        Perceptual("vgg61", "published")
    assert "training.losses.perceptual.backbone=tf_efficientnet_lite0" in caught.value.remedy
    with pytest.raises(ModelError, match="loss perceptual") as caught:
        Perceptual("vgg16", str(tmp_path / "none.safetensors"))
    assert "training.losses.perceptual.backbone_weights" in caught.value.remedy


def test_pictures_are_whole(make_step: MakeStep, perceptual: Perceptual) -> None:
    ab, places = torch.zeros(1, 2, 4, 4), torch.tensor([[1, 2, 3]])
    step = make_step(torch.zeros(1, 2, 1, 3), ab, places=places)
    for loss in (colorfulness, perceptual):
        with pytest.raises(SettingsError, match="network given trains on some pixels"):
            loss(step)
