import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from skimage.color import rgb2lab
from skimage.transform import resize
from torch import Tensor, nn

from chromaflow.color.codebooks.regression import Regression
from chromaflow.errors import ModelError
from chromaflow.models import Colorizer, build_network
from chromaflow.models.networks.base import Reference
from chromaflow.models.networks.propagation import Correspondence, Propagation
from tests.support.layers import layer

SMALL = {"width": 0.125, "depth": 0.34}


def small(channels: int) -> Propagation:
    network = build_network("propagation", channels, **SMALL)
    assert isinstance(network, Propagation)
    return network


@pytest.fixture(scope="module")
def network() -> Propagation:
    torch.manual_seed(0)
    return small(3).eval()


def grey(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.manual_seed(1)) * 100


def reference(batch: int, height: int, width: int) -> Reference:
    ab = grey(batch, 2, height, width) - 50
    return Reference(grey(batch, 1, height, width), ab, torch.ones(batch))


def test_size() -> None:
    with torch.device("meta"):
        network = build_network("propagation", 2)
        guide = Reference(torch.empty(1, 1, 64, 64), torch.empty(1, 2, 64, 64), torch.empty(1))
        assert network(torch.empty(1, 1, 224, 224), guide).shape == (1, 2, 112, 112)
    assert isinstance(network, Propagation)
    firsts = [layer(network, f"down.{n}.0.0", nn.Conv2d) for n in range(len(network.down))]
    widths = [first.out_channels for first in firsts]
    assert widths == [64, 128, 256]
    assert len(network.deep) == 3


def test_no_reference_is_an_unknown_one(network: Propagation) -> None:
    lightness, given = grey(2, 1, 64, 32), reference(2, 64, 32)
    with torch.inference_mode():
        alone = network(lightness)
        unknown = network(lightness, given._replace(known=torch.zeros(2)))
        first = network(lightness, given._replace(known=torch.tensor([1.0, 0.0])))
        both = network(lightness, given)
    torch.testing.assert_close(unknown, alone)
    torch.testing.assert_close(first[1], alone[1])
    torch.testing.assert_close(first[0], both[0])
    assert (both - alone).abs().amax((1, 2, 3)).min() > 1e-3


def test_correspondence_is_attention_written_out() -> None:
    torch.manual_seed(0)
    module = Correspondence(7)
    frame, seen, ab = torch.randn(2, 7, 3, 4), torch.randn(2, 7, 5, 2), torch.randn(2, 8, 5, 2)
    with torch.no_grad():
        found, alike = module(frame, seen, ab)
        one, other = (F.normalize(module.describe(x), dim=1) for x in (frame, seen))
        similarity = torch.einsum("bchw,bcmn->bhwmn", one, other).flatten(3)
        shares = (similarity * module.sharpness.exp()).softmax(dim=3)
    colors = torch.einsum("bhwk,bck->bchw", shares, ab.flatten(2))
    torch.testing.assert_close(found, colors, atol=1e-5, rtol=1e-4)
    expected = (shares * similarity).sum(dim=3)[:, None]
    torch.testing.assert_close(alike, expected, atol=1e-5, rtol=1e-4)


def test_color_goes_where_its_place_went() -> None:
    torch.manual_seed(0)
    module = Correspondence(16)
    with torch.no_grad():
        module.sharpness.fill_(6.0)
    frame, ab = torch.randn(1, 16, 4, 6), torch.randn(1, 8, 4, 6)
    order = torch.randperm(24)
    moved, moved_ab = (x.flatten(2)[..., order].reshape(x.shape) for x in (frame, ab))
    with torch.no_grad():
        found, alike = module(frame, moved, moved_ab)
    torch.testing.assert_close(found, ab, atol=1e-3, rtol=0)
    assert alike.min() > 0.99


@pytest.mark.parametrize("size", [(32, 64), (96, 32)])
def test_a_reference_may_have_another_size(network: Propagation, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert network(grey(2, 1, 64, 64), reference(2, *size)).shape == (2, 3, 32, 32)


def test_one_reference_serves_all_frames(network: Propagation) -> None:
    lightness, one = grey(3, 1, 64, 64), reference(1, 64, 64)
    each = Reference(*(part.expand(3, *part.shape[1:]) for part in one))
    with torch.inference_mode():
        torch.testing.assert_close(network(lightness, one), network(lightness, each))


def photographs() -> tuple[Tensor, Tensor]:
    images = [resize(getattr(skimage.data, n)(), (64, 64)) for n in ("chelsea", "coffee")]
    lab = np.stack([rgb2lab(image) for image in images]).transpose(0, 3, 1, 2)
    planes = torch.from_numpy(lab).float()
    return planes[:, :1], planes[:, 1:]


def test_learns_to_follow_the_reference() -> None:
    # Each photograph has two references: itself, and itself with a and b swapped.
    torch.manual_seed(0)
    model = Colorizer(build_network("propagation", 2, weights="published", **SMALL), Regression())
    model.network.backbone.requires_grad_(requires_grad=False)
    lightness, ab = (planes.repeat(2, 1, 1, 1) for planes in photographs())
    ab[2:] = ab[2:].flip(1)
    reference = Reference(lightness, ab, torch.ones(4))
    optimizer = torch.optim.Adam(model.network.parameters(), 5e-3)
    for _ in range(25):
        predicted = model.codebook.decode(model(lightness, reference))
        loss = (predicted - F.avg_pool2d(ab, 2)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        found = model.predict_ab(lightness, reference)
    error = (found - ab).abs().mean((1, 2, 3))
    assert (error < 0.8 * (found - ab.flip(1)).abs().mean((1, 2, 3))).all()
    assert (error < 0.5 * ab.abs().mean((1, 2, 3))).all()


def test_odd_sizes_with_a_reference() -> None:
    model = Colorizer(build_network("propagation", 2, **SMALL), Regression()).eval()
    with torch.inference_mode():
        ab = model.predict_ab(grey(2, 1, 61, 47), reference(2, 61, 47))
    assert ab.shape == (2, 2, 61, 47)


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    network = small(2)
    network(grey(2, 1, 64, 64), reference(2, 64, 64)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert network.correspondence.sharpness.grad != 0


def test_config_rebuilds_it(network: Propagation) -> None:
    config = network.config()
    again = build_network(config.pop("name"), 3, **config).eval()
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        given = grey(1, 1, 32, 64), reference(1, 32, 64)
        assert torch.equal(again(*given), network(*given))


@pytest.mark.parametrize("sizes", [{"width": 9.0}, {"depth": 0}])
def test_sizes_are_checked(sizes: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=f"propagation: {next(iter(sizes))}"):
        build_network("propagation", 2, **sizes)
