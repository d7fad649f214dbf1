"""Koalarization with coordinates at its input and attention over its fused features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chromaflow.models.backbones.timm import NONE
from chromaflow.models.networks.base import scaled
from chromaflow.models.networks.koalarization import Koalarization


class AttentionFusion(Koalarization):
    """Every place of the fused grid looks at all places before its color is decided.

    After Lakhani. Coordinates as of Liu et al., "An intriguing failing of convolutional neural
    networks and the CoordConv solution", NeurIPS 2018: x and y, without the radius, which that
    paper leaves to choice. Attention in the formulas and names of Luong, Pham and Manning,
    "Effective Approaches to Attention-based Neural Machine Translation", EMNLP 2015, section 3,
    with their score "general": for a place t and all places s of the grid, α = softmax(h_t·W h_s),
    context c = Σ α h_s, and tanh(W [c; h_t]) goes on to the decoder. The score is divided by the
    root of the number of channels, which W could undo, so that the softmax is not saturated from
    the start.

    The text names neither the score nor the backbone; the latter is Koalarization's by default.
    "Batch norm before each non-linearity except the last layers" is read as everywhere but before
    the tanh of the attention and the tanh of the codebook.

    The attention's weights are never all in memory: torch's kernels go through them in blocks.

    Args:
        channels: Channels of the output, those of the codebook.
        width: Channels over those published, less those of the backbone.
        backbone: Any classifier of timm.
        weights: Of the backbone, as of `build_classifier`.
        folded: As of `build_classifier`.

    Raises:
        ModelError: A width out of range, or a backbone that cannot be had.
    """

    name = "attention_fusion"
    planes = 3
    normalized = True

    def __init__(
        self,
        channels: int,
        *,
        width: float = 1.0,
        backbone: str = "inception_resnet_v2",
        weights: str = NONE,
        folded: bool | None = None,
    ) -> None:
        super().__init__(channels, width=width, backbone=backbone, weights=weights, folded=folded)
        inner = scaled(256, width)
        self.score = nn.Linear(inner, inner, bias=False)
        self.combine = nn.Linear(2 * inner, inner, bias=False)

    def see(self, lightness: Tensor) -> Tensor:
        """Lightness, x and y, (B, 3, H, W), each within −1..1."""
        down, across = (
            torch.linspace(-1, 1, side, dtype=lightness.dtype, device=lightness.device)
            for side in lightness.shape[2:]
        )
        x = across.expand_as(lightness)
        y = down[:, None].expand_as(lightness)
        return torch.cat([super().see(lightness), x, y], dim=1)

    def fuse(self, lightness: Tensor) -> Tensor:
        """Fused features (B, inner, H/8, W/8) of lightness (B, 1, H, W), after the attention."""
        return self.attend(super().fuse(lightness))

    def attend(self, features: Tensor) -> Tensor:
        """Attention vectors (B, inner, h, w) of features (B, inner, h, w), within −1..1."""
        places = features.flatten(2).transpose(1, 2)
        # A head of its own, without which the CPU has no kernel of bounded memory.
        heads = places[:, None]
        context = F.scaled_dot_product_attention(heads, self.score(heads), heads)[:, 0]
        vectors = torch.tanh(self.combine(torch.cat([context, places], dim=2)))
        return vectors.transpose(1, 2).reshape(features.shape)


NETWORK = AttentionFusion
