import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from chromaflow.errors import UserError
from chromaflow.experiments import costs as module
from chromaflow.experiments.costs import SIDE, Costs, count_flops, measure_costs, measure_here
from chromaflow.models import Colorizer, build_model
from chromaflow.models.model_folder import save_model
from chromaflow.settings import Model

# Of one of the two planes of the network below: side of the kernel, channels in and out.
CONVOLUTIONS = ((11, 1, 8), (4, 8, 8), (4, 8, 8), (3, 8, 8), (1, 8, 1))
PARAMETERS = 2 * sum(kernel**2 * taken * given + given for kernel, taken, given in CONVOLUTIONS)


def operations() -> int:
    """Of the network below on a picture of SIDE×SIDE: a multiplication and an addition a weight."""
    side, counted = SIDE + 18, 0
    for kernel, taken, given in CONVOLUTIONS:
        side -= kernel - 1
        counted += 2 * kernel**2 * taken * given * side**2
    assert side == SIDE
    return 2 * counted


@pytest.fixture
def small() -> Colorizer:
    torch.manual_seed(0)
    settings = Model.model_validate(
        {"network": {"name": "vcnn", "width": 0.125}, "codebook": "regression"}
    )
    return build_model(settings).eval()


@pytest.fixture
def folder(small: Colorizer, tmp_path: Path) -> Path:
    save_model(small, tmp_path / "model")
    return tmp_path / "model"


def test_operations_are_those_of_its_convolutions(small: Colorizer) -> None:
    assert count_flops(small) == operations()


def test_operations_of_the_default_network_are_those_of_convolutions_and_decoding() -> None:
    model = build_model(
        Model.model_validate({"network": {"width": 0.0625, "weights": "none"}})
    ).eval()
    found, counted = count_flops(model, 64), [0]

    def count(layer: nn.Conv2d, _: object, output: torch.Tensor) -> None:
        counted[0] += 2 * layer.weight[0].numel() * output.numel()

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model.predict_ab(torch.rand(1, 1, 64, 64))
    assert found == counted[0] + 2 * 313 * 2 * 16**2


class Asking(nn.Module):
    """Gives a module what it learns by itself, as DDColor its queries."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.rand(3, 4))
        self.answer = nn.Linear(4, 5)

    @torch.inference_mode()
    def predict_ab(self, lightness: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.answer(self.queries.expand(len(lightness), -1, -1))
        return answers


def test_what_learns_by_itself_is_counted_and_goes_on_learning() -> None:
    model = Asking()
    assert count_flops(model) == 2 * 3 * 4 * 5  # type: ignore[arg-type]
    assert model.queries.requires_grad


def test_costs_are_the_median_of_times_and_the_memory_above_that_of_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three runs, of 3, 1 and 5 seconds.
    clock = itertools.chain.from_iterable([(0, 3), (10, 11), (20, 25)])
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    memory = {"VmRSS": 5_000_000, "VmHWM": 12_500_000}
    monkeypatch.setattr(module, "_memory", memory.__getitem__)
    assert measure_here(folder, threads=torch.get_num_threads(), repeats=3) == Costs(
        parameters=PARAMETERS, gigaflops=operations() / 1e9, milliseconds=3000, megabytes=7.5
    )


def test_a_process_of_its_own_tells_the_costs(folder: Path) -> None:
    found = replace(measure_costs(folder, threads=1), milliseconds=0, megabytes=0)
    assert found == Costs(PARAMETERS, operations() / 1e9, milliseconds=0, megabytes=0)


def test_a_folder_that_cannot_be_measured_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing-here"):
        measure_costs(tmp_path / "nothing-here", threads=1)
