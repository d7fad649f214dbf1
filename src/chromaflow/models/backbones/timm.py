"""Networks with published weights that others build on, from timm by name.

timm itself is imported where it is needed: the default network does without.
"""

import contextlib
import itertools
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from chromaflow.errors import ModelError
from chromaflow.models.backbones import efficientnet_lite0 as lite
from chromaflow.models.backbones.efficientnet_lite0 import (
    LiteClassifier,
    LiteEncoder,
    load_published,
)

PUBLISHED, NONE = "published", "none"
_REACHABLE_WITHIN = 5.0  # seconds


class TimmBackbone(nn.Module):
    """Features of one of timm's networks on grey images.

    Args:
        backbone: Its name in timm, such as vgg16 or convnext_tiny.
        levels: How many strides to give, the finest first; None: all.

    Attributes:
        channels: Of the features at each of `strides`.
        strides: Sides of their pixels, in pixels of the image, each twice the one before.

    Raises:
        ModelError: timm knows no such network, or gives no such features of it.
    """

    def __init__(self, backbone: str, levels: int | None = None, **weights: Any) -> None:
        super().__init__()
        self.backbone = backbone
        wanted = {} if levels is None else {"out_indices": tuple(range(levels))}
        self.body = _create(backbone, features_only=True, **wanted, **weights)
        features: Any = self.body.feature_info
        self.channels = tuple(features.channels())
        self.strides: tuple[int, ...] = tuple(features.reduction())
        if any(after != 2 * before for before, after in itertools.pairwise(self.strides)):
            raise ModelError(
                f"the backbone {backbone} gives features at strides {self.strides}, "
                "each of which must be twice the one before",
                f"set model.network.backbone to a convolutional one, such as vgg16 or {lite.NAME}",
            )
        _register_normalization(self, backbone)

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """Features of lightness (B, 1, H, W), 0..100, at each of `strides`, the finest first.

        H and W are multiples of 32.
        """
        features: list[Tensor] = self.body(_as_rgb(self, lightness))
        return features

    def config(self) -> dict[str, Any]:
        """Name and form, fit for JSON."""
        return {"backbone": self.backbone, "folded": False}


class VggMaps(nn.Module):
    """Every map of a VGG network on grey images: what each of its activations gives.

    The fully connected layers come last, as convolutions over the image, padded to keep its size:
    Larsson et al., "Learning Representations for Automatic Colorization", ECCV 2016.

    Args:
        backbone: Its name in timm: vgg16, vgg16_bn and their like.

    Attributes:
        channels: Of each map, from the first convolution on.
        strides: Sides of their pixels, in pixels of the image.
    """

    def __init__(self, backbone: str, **weights: Any) -> None:
        super().__init__()
        self.backbone = backbone
        body: Any = _create(backbone, num_classes=0, **weights)
        top = body.pre_logits
        top.fc1.padding = tuple(side // 2 for side in top.fc1.kernel_size)
        self.body = body
        self.layers: list[nn.Module] = [*body.features, top.fc1, top.act1, top.fc2, top.act2]
        channels, strides, stride = list[int](), list[int](), 1
        for layer in self.layers:
            stride *= 2 if isinstance(layer, nn.MaxPool2d) else 1
            if isinstance(layer, nn.Conv2d):
                channels.append(layer.out_channels)
                strides.append(stride)
        self.channels, self.strides = tuple(channels), tuple(strides)
        _register_normalization(self, backbone)

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """Maps of lightness (B, 1, H, W), 0..100, in the order of the layers.

        H and W are multiples of 32.
        """
        x, maps = _as_rgb(self, lightness), []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return maps

    def config(self) -> dict[str, Any]:
        """Name and form, fit for JSON."""
        return {"backbone": self.backbone, "folded": False}


class TimmClassifier(nn.Module):
    """What one of timm's networks takes a grey image for.

    Args:
        backbone: Its name in timm, such as inception_resnet_v2.

    Attributes:
        classes: How many logits it gives.
        input_size: Side of the square that it was trained on, pixels.
    """

    def __init__(self, backbone: str, **weights: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.body = _create(backbone, **weights)
        published: Any = self.body.pretrained_cfg
        self.classes = int(self.body.num_classes)  # type: ignore[arg-type]
        self.input_size = int(published["input_size"][-1])
        _register_normalization(self, backbone)

    def forward(self, lightness: Tensor) -> Tensor:
        """Logits (B, classes) of lightness (B, 1, H, W), 0..100, best at `input_size`."""
        logits: Tensor = self.body(_as_rgb(self, lightness))
        return logits

    def config(self) -> dict[str, Any]:
        """Name and form, fit for JSON."""
        return {"backbone": self.backbone, "folded": False}


Backbone = TimmBackbone | VggMaps | LiteEncoder
Classifier = TimmClassifier | LiteClassifier


def _create(backbone: str, **settings: Any) -> nn.Module:
    import timm  # noqa: PLC0415

    if not timm.is_model(backbone):
        near = timm.list_models(f"*{backbone}*")[:3] or [
            "vgg16",
            "convnext_tiny",
            lite.NAME,
        ]
        raise ModelError(
            f"timm has no network {backbone!r}; did you mean {', '.join(near)}?",
            "set model.network.backbone",
        )
    try:
        network: nn.Module = timm.create_model(backbone, **settings)
    except (RuntimeError, AttributeError, LookupError, TypeError, AssertionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"the backbone {backbone} cannot be built: {first}",
            "set model.network.backbone, or model.network.weights to the weights of this one",
        ) from None
    return network


def _register_normalization(module: nn.Module, backbone: str) -> None:
    import timm  # noqa: PLC0415

    published = timm.get_pretrained_cfg(backbone)
    for name, values in (("mean", published.mean), ("deviation", published.std)):
        module.register_buffer(
            name, torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1), persistent=False
        )


def _as_rgb(module: nn.Module, lightness: Tensor) -> Tensor:
    """Grey as red, green and blue alike, normalized as the network was trained."""
    return (lightness / 100 - module.mean) / module.deviation  # type: ignore[operator]


def _weights_of(backbone: str, weights: str) -> dict[str, Any]:
    """Arguments of timm for the weights."""
    if weights == NONE:
        return {"pretrained": False}
    path = _fetch(backbone) if weights == PUBLISHED else _check_file(Path(weights).expanduser())
    return {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}


def _check_file(path: Path) -> Path:
    remedy = "set model.network.weights to a safetensors file, published or none"
    if path.suffix != ".safetensors":
        raise ModelError(f"model.network.weights = {path} is not a safetensors file.", remedy)
    try:
        with safetensors.safe_open(path, "pt") as file:
            file.keys()
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"model.network.weights = {path} cannot be read: {error}", remedy
        ) from None
    return path


def _fetch(backbone: str) -> Path:
    """The published weights, from the hub's cache or the hub."""
    import huggingface_hub as hub  # noqa: PLC0415
    import timm  # noqa: PLC0415
    from huggingface_hub import constants  # noqa: PLC0415

    published = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
    if published is None:
        _create(backbone)
    repository = published.hf_hub_id if published else None
    problem = "timm lists no location on the hub"
    if repository:
        cached = hub.try_to_load_from_cache(repository, "model.safetensors")
        if isinstance(cached, str):
            return Path(cached)
        try:
            # Asked once and shortly: the hub's own client tries for most of a minute.
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(constants.ENDPOINT, timeout=_REACHABLE_WITHIN).close()  # noqa: S310
            return Path(hub.hf_hub_download(repository, "model.safetensors"))
        except OSError as error:
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise ModelError(
        f"the published weights of {backbone} cannot be fetched from the hub: {problem}",
        "set model.network.weights to a safetensors file of them, or to none to train from "
        f"scratch, or set model.network.backbone={lite.NAME}, whose weights are installed",
    )


def _lite_tensors(weights: str) -> list[Tensor] | None:
    import timm  # noqa: PLC0415

    if weights == PUBLISHED:
        return None
    tensors = safetensors.torch.load_file(_check_file(Path(weights).expanduser()))
    with torch.device("meta"):
        names = timm.create_model(lite.NAME).state_dict()
    return [tensors[name] for name in names if name in tensors and "num_batches" not in name]


def _build_lite(
    kind: type[LiteEncoder], weights: str, folded: bool | None, **sizes: int
) -> LiteEncoder:
    encoder = kind(folded=weights != NONE if folded is None else folded, **sizes)
    if weights != NONE:
        load_published(encoder, _lite_tensors(weights))
    return encoder


def build_backbone(
    name: str,
    weights: str = NONE,
    *,
    folded: bool | None = None,
    levels: int | None = None,
    every_map: bool = False,
) -> Backbone:
    """A network that gives features at several strides.

    Args:
        name: In timm. tf_efficientnet_lite0 is our own, lighter on grey images.
        weights: "published": from the hub, those of tf_efficientnet_lite0 from its package;
            "none": initialized at random; or a safetensors file with timm's keys.
        folded: Of `LiteEncoder`; by default where it has published weights.
        levels: How many strides to give, the finest first; it ends with the last of them. None:
            all.
        every_map: Of a VGG network all maps, also those within a stride.

    Raises:
        ModelError: An unknown name, or weights that cannot be had, with the ways out.
    """
    if name == lite.NAME:
        sizes = {} if levels is None else {"levels": levels}
        return _build_lite(LiteEncoder, weights, folded, **sizes)
    if every_map and name.startswith("vgg"):
        return VggMaps(name, **_weights_of(name, weights))
    return TimmBackbone(name, levels, **_weights_of(name, weights))


def build_color_backbone(name: str, weights: str = NONE) -> TimmBackbone:
    """A network that gives features of pictures in color.

    Args:
        name: In timm.
        weights: As of `build_backbone`.

    Returns:
        It takes red, green and blue, (B, 3, H, W), 0..100, in the place of lightness.

    Raises:
        ModelError: As of `build_backbone`.
    """
    if (name, weights) != (lite.NAME, PUBLISHED):
        return TimmBackbone(name, **_weights_of(name, weights))
    backbone = TimmBackbone(name, **_weights_of(name, NONE))
    state = backbone.body.state_dict()
    # The package's come in timm's order, those of the classifier last.
    names = [name for name in state if "num_batches" not in name]
    backbone.body.load_state_dict(state | dict(zip(names, lite.read_package(), strict=False)))
    return backbone


def build_classifier(name: str, weights: str = NONE, *, folded: bool | None = None) -> Classifier:
    """A network that classifies what an image shows, with the arguments of `build_backbone`."""
    if name == lite.NAME:
        classifier = _build_lite(LiteClassifier, weights, folded)
        assert isinstance(classifier, LiteClassifier)  # noqa: S101 (what was asked for)
        return classifier
    return TimmClassifier(name, **_weights_of(name, weights))


def classify(classifier: Classifier, lightness: Tensor) -> Tensor:
    """Logits (B, classes) of images of any size, resized to the classifier's own."""
    side = classifier.input_size
    if lightness.shape[-2:] != (side, side):
        lightness = F.interpolate(lightness, (side, side), mode="bilinear", antialias=True)
    logits: Tensor = classifier(lightness)
    return logits
