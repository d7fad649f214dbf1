import pytest
import torch
import torch.nn.functional as F
from torch import nn

from chromaflow.models.networks.parts.fusion import LOW_LEVEL, Fusion, decoder, encoder


def test_a_fused_vector_stands_at_every_place() -> None:
    torch.manual_seed(0)
    fusion = Fusion(6, 5, 4)
    features, vector = torch.randn(2, 6, 3, 7), torch.randn(2, 5)
    tiles = vector[:, :, None, None].expand(-1, -1, 3, 7)
    expected = F.conv2d(torch.cat([features, tiles], dim=1), fusion.weight, fusion.bias)
    torch.testing.assert_close(fusion(features, vector), expected)
    assert fusion.weight.shape == (4, 11, 1, 1)


@pytest.mark.parametrize("normalized", [False, True])
def test_layers_are_those_published(normalized: bool) -> None:
    with torch.device("meta"):
        low = encoder(1, LOW_LEVEL, 1.0, normalized=normalized)
        up = decoder(2, 1.0, normalized=normalized)
    seen = [layer for part in (low, up) for layer in part.modules() if isinstance(layer, nn.Conv2d)]
    assert [(layer.out_channels, layer.stride[0]) for layer in seen] == [
        *((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1)),
        *((128, 1), (64, 1), (64, 1), (32, 1), (2, 1)),
    ]
    assert all(layer.kernel_size == (3, 3) and layer.padding == (1, 1) for layer in seen)
    # The output alone has a bias where the others are normalized.
    assert [layer.bias is None for layer in seen] == [normalized] * 10 + [False]
    kinds = [type(layer) for layer in up.modules()]
    assert kinds.count(nn.BatchNorm2d) == (4 if normalized else 0)
    assert kinds[-1] is nn.Conv2d


def test_width_scales_all_but_the_output() -> None:
    narrow = encoder(3, LOW_LEVEL, 0.25, normalized=False)
    assert narrow(torch.rand(1, 3, 16, 32)).shape == (1, 128, 2, 4)
    assert decoder(5, 0.25, normalized=False)(torch.rand(1, 64, 2, 4)).shape == (1, 5, 8, 16)
