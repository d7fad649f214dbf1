"""What every codebook promises: rebuilt from config and state, any precision, any memory order."""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from skimage import color, data

from chromaflow.color.codebooks.base import Codebook
from chromaflow.color.codebooks.bins import BinnedCodebook
from chromaflow.color.codebooks.registry import CODEBOOKS, build_codebook, codebook_settings
from chromaflow.color.stored import ab_histogram, encode_stored
from chromaflow.errors import ModelError
from chromaflow.settings import Model
from tests.support.layers import gradient

PIXELS = encode_stored(color.rgb2lab(data.astronaut()[::4, ::4]))
AB = torch.from_numpy(PIXELS[..., 1:].astype(np.float32) - 128).permute(2, 0, 1)[None]
# Mean distance that decoding the truth may leave, CIE units; `som` has nine colors for all.
BOUNDS = {
    "grid313": 1.7,
    "grid529": 1.7,
    "channel50": 1.6,
    "hue_chroma": 2.1,
    "som": 3.7,
    "regression": 1e-4,
}
# Another value than the default for every setting.
CHANGED = {
    "neighbors": 3,
    "sigma": 4.0,
    "temperature": 0.5,
    "rebalance": 0.25,
    "bins": 21,
    "hue_weight": 2.0,
    "fading": False,
    "neurons": 4,
    "ab_range": 110.0,
    "bounded": False,
}


@pytest.fixture(scope="module")
def histogram() -> np.ndarray:
    return ab_histogram(PIXELS)


@pytest.fixture(params=sorted(CODEBOOKS))
def codebook(request: pytest.FixtureRequest, histogram: np.ndarray) -> Codebook:
    return build_codebook(request.param, histogram)


def logits_of(codebook: Codebook, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(2, codebook.channels, 5, 3, generator=generator)


def test_decoding_the_truth_gives_nearly_the_colors(codebook: Codebook) -> None:
    back = codebook.decode(codebook.ideal_logits(AB))
    assert back.dtype == torch.float32
    assert (back - AB).norm(dim=1).mean() < BOUNDS[codebook.name]


@pytest.mark.parametrize("name", sorted(CODEBOOKS))
def test_config_and_state_rebuild_it_without_the_data(name: str, histogram: np.ndarray) -> None:
    chosen = {setting: CHANGED[setting] for setting in codebook_settings(name)}
    first = build_codebook(name, histogram, **chosen)
    config = json.loads(json.dumps(first.config()))
    assert config == {"name": name, **chosen}
    second = build_codebook(**config)
    second.load_state_dict(first.state_dict())
    for one, other in zip(flat(first.encode(AB)), flat(second.encode(AB)), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(first.decode(logits_of(first)), second.decode(logits_of(first)))
    assert not list(first.parameters())


def flat(target: torch.Tensor | tuple[tuple[torch.Tensor, ...], ...]) -> list[torch.Tensor]:
    if isinstance(target, torch.Tensor):
        return [target]
    return [tensor for soft in target for tensor in soft]


def test_every_precision_is_decoded_in_single(
    codebook: Codebook, dtype: torch.dtype, device: torch.device
) -> None:
    placed = copy.deepcopy(codebook).to(device)
    given = logits_of(codebook).to(device, dtype)
    ab = placed.decode(given)
    assert ab.dtype == torch.float32
    assert torch.equal(ab, placed.decode(given.float()))
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert torch.equal(placed.decode(given), ab)
    torch.testing.assert_close(ab.cpu(), codebook.decode(given.cpu()), rtol=1e-4, atol=1e-3)


def test_every_precision_is_encoded_alike(
    codebook: Codebook, dtype: torch.dtype, device: torch.device
) -> None:
    # Whole numbers up to 256 are exact in all of them.
    placed, given = copy.deepcopy(codebook).to(device), AB.to(device, dtype)
    for got, expected in zip(flat(placed.encode(given)), flat(codebook.encode(AB)), strict=True):
        assert got.dtype == expected.dtype
        torch.testing.assert_close(got.cpu(), expected)
    truth = placed.ideal_logits(given)
    assert truth.dtype == torch.float32
    torch.testing.assert_close(truth.cpu(), codebook.ideal_logits(AB))


def test_the_order_of_memory_changes_nothing(codebook: Codebook) -> None:
    logits = logits_of(codebook)
    last = logits.to(memory_format=torch.channels_last)
    torch.testing.assert_close(codebook.decode(last), codebook.decode(logits))
    ab = AB.to(memory_format=torch.channels_last)
    for one, other in zip(flat(codebook.encode(ab)), flat(codebook.encode(AB)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
def test_decoding_has_a_finite_gradient(codebook: Codebook, scale: float) -> None:
    logits = (logits_of(codebook) * scale).requires_grad_()
    codebook.decode(logits).square().sum().backward()
    assert torch.isfinite(gradient(logits)).all()
    if scale == 1:
        assert gradient(logits).abs().sum() > 0


def test_encoding_lets_no_gradient_flow_to_bins(codebook: Codebook) -> None:
    if isinstance(codebook, BinnedCodebook):
        ab = AB.clone().requires_grad_()
        assert not any(tensor.requires_grad for tensor in flat(codebook.encode(ab)))


def test_each_group_is_a_distribution_that_weighs_one_on_average(codebook: Codebook) -> None:
    if not isinstance(codebook, BinnedCodebook):
        return
    prior = torch.split(codebook.prior, list(codebook.groups))
    weights = torch.split(codebook.weights, list(codebook.groups))
    first = 0
    for bins, p, w, target in zip(
        codebook.groups, prior, weights, codebook.encode(AB), strict=True
    ):
        assert p.sum().item() == pytest.approx(1, abs=1e-5)
        assert (p * w).sum().item() == pytest.approx(1, abs=1e-5)
        assert target.indices.min() >= first
        first += bins
        assert target.indices.max() < first
        assert target.indices.dtype == torch.int64
        torch.testing.assert_close(target.shares.sum(dim=1), torch.ones_like(target.weights))


def test_a_copy_is_the_same_and_its_own(codebook: Codebook) -> None:
    twin = copy.deepcopy(codebook)
    assert torch.equal(twin.decode(logits_of(codebook)), codebook.decode(logits_of(codebook)))
    for one, other in zip(twin.buffers(), codebook.buffers(), strict=True):
        assert one.data_ptr() != other.data_ptr()


@pytest.mark.parametrize("name", sorted(CODEBOOKS))
def test_settings_and_constructors_agree(name: str) -> None:
    own = Model.model_validate({"codebook": name}).codebook.model_dump()
    assert own == build_codebook(name).config()
    assert own.keys() - {"name"} == codebook_settings(name)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("regression", {"ab_range": 0.0}),
        ("regression", {"ab_range": float("inf")}),
        ("regression", {"bounded": 1}),
        ("channel50", {"bins": 1}),
        ("channel50", {"bins": True}),
        ("channel50", {"temperature": -1.0}),
        ("hue_chroma", {"hue_weight": 0}),
        ("hue_chroma", {"fading": "yes"}),
        ("hue_chroma", {"rebalance": 2}),
        ("som", {"neurons": 1}),
        ("som", {"neurons": 4.0}),
        ("som", {"temperature": float("nan")}),
    ],
)
def test_impossible_settings_are_refused_by_name(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=f"{name}: {next(iter(wrong))}"):
        build_codebook(name, **wrong)


@pytest.mark.parametrize("name", sorted(set(CODEBOOKS) - {"regression"}))
def test_impossible_histograms_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="histogram"):
        build_codebook(name, np.zeros((256, 256), int))
