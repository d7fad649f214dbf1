"""Richart, Visca and Baliosian 2017: an MLP predicts the color class of a grey patch's centre."""

from typing import Any

from torch import Tensor, nn

from chromaflow.models.networks.base import Network, check_scale, scaled

PATCH = 5


class RichartClassifier(Network):
    """One hidden layer on the grey patch around each pixel.

    Richart et al., "Image Colorization with Neural Networks", Workshop of Computer Vision 2017:
    a multilayer perceptron with one hidden layer of up to 100 units takes the lightness of a patch,
    scaled to 0..1, and classifies its centre into the neurons of a self-organizing map. Their
    program (github.com/mrichart/NNcoloring) tries hidden layers of 10, 50 and 100 units on patches
    of 5×5 with rectified units; taken here are 100 units, 5×5 and ReLU. It colors only pixels whose
    patch lies in the image; here the image goes on with the color of its edge.

    A convolution as large as the patch and a 1×1 convolution are that perceptron at every pixel.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Hidden units over 100.

    Raises:
        ModelError: A width out of range.
    """

    name = "richart"
    stride = 1
    multiple = 1
    receptive_field = PATCH

    def __init__(self, channels: int, *, width: float = 1.0) -> None:
        super().__init__()
        check_scale(self.name, width=width)
        self.width, hidden = float(width), scaled(100, width)
        self.layers = nn.Sequential(
            nn.Conv2d(1, hidden, PATCH, padding=PATCH // 2, padding_mode="replicate"),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, lightness: Tensor, guide: Any = None) -> Tensor:  # noqa: ARG002
        """Logits (B, channels, H, W) of lightness (B, 1, H, W), 0..100."""
        out: Tensor = self.layers(lightness / 100)
        return out

    def config(self) -> dict[str, Any]:
        """Name and sizes, fit for JSON."""
        return {"name": self.name, "width": self.width}


NETWORK = RichartClassifier
