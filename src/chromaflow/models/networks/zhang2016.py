"""Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016."""

from typing import Any

from torch import Tensor, nn

from chromaflow.models.networks.base import Network, check_scale, repeated, scaled

# Channels, convolutions, stride of the last one and dilation of the blocks conv1 to conv7.
_BLOCKS = (
    (64, 2, 2, 1),
    (128, 2, 2, 1),
    (256, 3, 2, 1),
    (512, 3, 1, 1),
    (512, 3, 1, 2),
    (512, 3, 1, 2),
    (512, 3, 1, 1),
)


def _block(
    inputs: int, outputs: int, layers: int, stride: int = 1, dilation: int = 1
) -> list[nn.Module]:
    block: list[nn.Module] = []
    for number in range(layers):
        last = number == layers - 1
        block += [
            nn.Conv2d(
                inputs if number == 0 else outputs,
                outputs,
                3,
                stride if last else 1,
                padding=dilation,
                dilation=dilation,
            ),
            nn.ReLU(inplace=True),
        ]
    return block


class Zhang2016(Network):
    """The published layers, 32,230,393 parameters with 313 channels of output.

    Strides inside the convolutions instead of pooling, dilation in place of the last two strides
    of a VGG network, normalization over the batch behind each of the first seven blocks; logits at
    a quarter of the size. As in the authors' training network the normalization has no learned
    scale or shift.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels inside, over those published.
        depth: Convolutions a block, over those published.

    Raises:
        ModelError: A width or a depth out of range.
    """

    name = "zhang2016"
    stride = 4
    multiple = 8

    def __init__(self, channels: int, *, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        check_scale(self.name, width=width, depth=depth)
        self.width, self.depth = float(width), float(depth)
        layers: list[nn.Module] = []
        inputs = 1
        for published, count, stride, dilation in _BLOCKS:
            outputs = scaled(published, width)
            layers += _block(inputs, outputs, repeated(count, depth), stride, dilation)
            layers.append(nn.BatchNorm2d(outputs, affine=False))
            inputs = outputs
        outputs = scaled(256, width)
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1), nn.ReLU(inplace=True)]
        layers += _block(outputs, outputs, repeated(2, depth))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(outputs, channels, 1)

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H/4, W/4) of lightness (B, 1, H, W), 0..100.

        H and W are multiples of 8.
        """
        out: Tensor = self.head(self.layers((lightness - 50) / 100))
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width, "depth": self.depth}


NETWORK = Zhang2016
