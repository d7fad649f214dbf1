"""The discriminator of Isola et al. 2017, which classifies patches of 70×70."""

import torch
from torch import Tensor, nn

from chromaflow.models.networks.base import check_scale, scaled


def initialize_normally(network: nn.Module) -> None:
    """Draw the weights of convolutions from N(0, 0.02²), biases 0: Isola et al. 2017, section 6.2.

    Args:
        network: Its convolutions, straight and transposed, change.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class PatchGAN(nn.Module):
    """Tells for each patch of 70×70 whether its color is true, knowing its lightness.

    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
    section 6.1.2: C64-C128-C256-C512 of 4×4, the last of them and the 4×4 that gives the logits at
    stride 1, batch normalization except in the first, leaky ReLU 0.2.

    Args:
        width: Channels over those that were published.

    Raises:
        ModelError: A width out of range.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        check_scale("patchgan", width=width)
        self.width = float(width)
        first, *rest = (scaled(channels, width) for channels in (64, 128, 256, 512))
        layers: list[nn.Module] = [nn.Conv2d(3, first, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        inputs = first
        for outputs, stride in zip(rest, (2, 2, 1), strict=True):
            layers += [
                nn.Conv2d(inputs, outputs, 4, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, 1, 4, 1, 1))
        initialize_normally(self)

    def forward(self, lightness: Tensor, ab: Tensor) -> Tensor:
        """Logits (B, 1, H / 8 − 2, W / 8 − 2), rounded down, above 0 for what looks true.

        Args:
            lightness: (B, 1, H, W), 0..100; H and W at least 32.
            ab: (B, 2, H, W), CIE units.
        """
        logits: Tensor = self.layers(torch.cat([lightness / 50 - 1, ab / 110], dim=1))
        return logits
