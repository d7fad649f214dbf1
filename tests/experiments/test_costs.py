import pytest
import torch

from chromaflow.errors import UserError
from chromaflow.experiments.costs import SIDE, count_flops, measure_costs
from chromaflow.models import build_model
from chromaflow.models.folder import save_model
from chromaflow.settings import Model

WIDTH = 0.05
DDCOLOR = {"network": "ddcolor", "codebook": "regression", "backbone": "tf_efficientnet_lite0"}


def build(**values):
    torch.manual_seed(0)
    return build_model(Model(weights="none", **values), rebalance=0.5).eval()


def test_operations_are_those_of_its_convolutions():
    model = build(network="vcnn", codebook="regression", width=0.125)
    # Of two planes of 8 channels: kernels of 11×11, 4×4, 4×4, 3×3 and 1×1; a padded picture.
    expected, side, channels = 0, SIDE + 18, 1
    for kernel, outputs in ((11, 8), (4, 8), (4, 8), (3, 8), (1, 1)):
        side -= kernel - 1
        expected += 2 * 2 * channels * outputs * kernel**2 * side**2
        channels = outputs
    assert side == SIDE
    assert count_flops(model) == expected


def test_what_learns_by_itself_is_counted_and_goes_on_learning():
    model = build(**DDCOLOR, width=WIDTH, depth=0.1)
    assert count_flops(model) > 1e8
    assert all(parameter.requires_grad for parameter in model.network.color_decoder.parameters())


def test_a_process_of_its_own_tells_the_costs(tmp_path):
    model = build(network="vcnn", codebook="regression", width=0.125)
    save_model(model, tmp_path / "model")
    costs = measure_costs(tmp_path / "model", threads=1)
    assert costs.parameters == sum(p.numel() for p in model.network.parameters())
    assert costs.gigaflops * 1e9 == pytest.approx(count_flops(model))
    assert costs.milliseconds > 0
    assert costs.megabytes > 0


def test_a_folder_that_cannot_be_measured_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing-here"):
        measure_costs(tmp_path / "nothing-here", threads=1)
