"""Let there be Color: features of each place and of the whole picture, and its kind of scene."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.errors import ModelError
from chromaflow.models.networks.base import Network, Outputs, check_scale, scaled
from chromaflow.models.networks.parts.fusion import LOW_LEVEL, Fusion, Layer, decoder, encoder

_WHOLE = 224
"""Side of the picture that the global features are taken of, pixels."""
_STRIDE_OF_WHOLE = 32


class _Normalization(nn.BatchNorm1d):
    """Batch normalization by the unbiased variance, in training as in evaluation.

    torch trains by the biased one. Of a picture's many places both are the same, but of a batch of
    eight vectors the unbiased one is a seventh larger, and a network that leans on them would color
    otherwise than it has learned to.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, channels), B above 1 in training."""
        count = len(x)
        scale = self.weight * (1 - 1 / count) ** 0.5 if self.training else self.weight
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            scale,
            self.bias,
            training=self.training,
            eps=self.eps,
        )


def _dense(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, outputs, bias=False), _Normalization(outputs), nn.ReLU(inplace=True)
    )


class Iizuka(Network):
    """Mid-level features of each place, fused with global features, and a scene classifier.

    Iizuka, Simo-Serra and Ishikawa, "Let there be Color!", ACM Transactions on Graphics 35(4),
    2016, Table 1, with batch normalization throughout but at the outputs. As there, both branches
    share the low-level layers; the global one sees the picture at 224×224, and a picture of that
    very size, on which the paper trains, goes through them once. Of another size it goes through
    them twice, and squeezed it is normalized by the running statistics of its own size: batches of
    two sizes would leave statistics of neither. The published network ends in a sigmoid and one
    more doubling of the size: here the output is half the size of the picture, and the tanh of the
    codebook is that sigmoid but for the scale of the last layer.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels over those published.
        scenes: Kinds of scenes; below two there is nothing to tell, and no classifier.

    Raises:
        ModelError: A size out of range.
    """

    name = "iizuka"
    stride = 2
    multiple = 8

    def __init__(self, channels: int, *, width: float = 1.0, scenes: int = 0) -> None:
        super().__init__()
        check_scale(self.name, width=width)
        if not isinstance(scenes, int) or isinstance(scenes, bool) or scenes < 0:
            raise ModelError(f"network {self.name}: scenes = {scenes!r} is not a number of scenes")
        self.width, self.scenes = float(width), scenes
        wide, inner = scaled(512, width), scaled(256, width)
        self.low_level = encoder(1, LOW_LEVEL, width, normalized=True)
        self.mid_level = encoder(wide, (Layer(512), Layer(256)), width, normalized=True)
        layers = (Layer(512, 2), Layer(512), Layer(512, 2), Layer(512))
        flat = wide * (_WHOLE // _STRIDE_OF_WHOLE) ** 2
        self.whole = nn.Sequential(
            encoder(wide, layers, width, normalized=True),
            nn.Flatten(),
            _dense(flat, scaled(1024, width)),
            _dense(scaled(1024, width), wide),
        )
        self.to_fusion = _dense(wide, inner)
        self.fusion = Fusion(inner, inner, inner)
        self.normalization = nn.BatchNorm2d(inner)
        self.decoder = decoder(channels, width, normalized=True)
        self.scene = (
            nn.Sequential(_dense(wide, inner), nn.Linear(inner, scenes)) if scenes > 1 else None
        )

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Output (B, channels, H/2, W/2), linear, of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 8.
        """
        return self._color_and_whole(lightness)[0]

    def outputs(self, lightness: Tensor, guide: Any = None) -> Outputs:  # noqa: ARG002
        """The same logits, and those of the scenes, (B, scenes), where there are some."""
        logits, whole = self._color_and_whole(lightness)
        extras = {} if self.scene is None else {"scene": self.scene(whole)}
        return Outputs(logits, None, extras)

    def _color_and_whole(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the global features (B, 512·width) that classify the scene."""
        if self.training and len(lightness) == 1:
            raise ModelError(
                f"the network {self.name} normalizes over the batch, and one image is none.",
                "set training.batch to 2 or more",
            )
        seen = lightness / 50 - 1
        low = small = self.low_level(seen)
        if seen.shape[2:] != (_WHOLE, _WHOLE):
            squeezed = F.interpolate(seen, (_WHOLE, _WHOLE), mode="bilinear", antialias=True)
            small = self._low_level_by_running_statistics(squeezed)
        whole: Tensor = self.whole(small)
        fused = self.fusion(self.mid_level(low), self.to_fusion(whole))
        logits: Tensor = self.decoder(F.relu(self.normalization(fused)))
        return logits, whole

    def _low_level_by_running_statistics(self, seen: Tensor) -> Tensor:
        """What the low-level layers give in evaluation mode, in any mode."""
        layers: Any = self.low_level
        for convolve, known, rectify in layers:
            statistics = (known.running_mean, known.running_var, known.weight, known.bias)
            seen = rectify(F.batch_norm(convolve(seen), *statistics, eps=known.eps))
        return seen

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width, "scenes": self.scenes}


NETWORK = Iizuka
