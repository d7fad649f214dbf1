"""Promotion of models that were trained, evaluated and registered, with nothing replaced."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from skimage.color import rgb2lab
from torch import Tensor

from chromaflow.color.stored import encode_stored
from chromaflow.data.store import chunks
from chromaflow.data.store.read import LabItem
from chromaflow.evaluation.measurements import read_table
from chromaflow.evidence.champion_measurements import measure_champion
from chromaflow.experiments.sample_photographs import write_lab
from chromaflow.models import Colorizer
from chromaflow.models.model_folder import load_model, save_model
from chromaflow.models.networks.richart import RichartClassifier
from chromaflow.project.paths import Project
from chromaflow.provenance import ledger
from chromaflow.settings import Settings
from chromaflow.steps.evaluate import evaluate
from chromaflow.steps.promote import PromoteResult, promote
from chromaflow.steps.register import register
from chromaflow.tracking.registry.lookup import Version
from chromaflow.tracking.registry.registry import Registry
from chromaflow.training.fit import train

# A stained tissue is brown where it is dark and blue where it is light, which is soon learned.
SETTINGS = Settings.model_validate(
    {
        "model": {"network": "richart", "codebook": "regression"},
        "training": {
            **{"steps": 120, "batch": 4, "crop": 32, "learning_rate": 0.02},
            **{"losses": {"huber": 1.0}, "accelerator": "cpu", "threads": 1},
        },
        "evaluation": {"size": 32, "pictures": 1},
        "promotion": {"metric": "delta_e_2000", "resamples": 500},
    }
)
SIDE = 48

Submit = Callable[[Path], PromoteResult]


def write_test_split(project: Project, tiles: list[NDArray[np.uint8]]) -> None:
    folder = project.lab / "test"
    folder.mkdir()
    items = (LabItem(id=f"tile{number}", lab=tile) for number, tile in enumerate(tiles))
    chunks.write_index(folder, chunks.write(folder, "tiles", 2**24, items), 2**24)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout with tiles of a photograph as Lab shards, and a model that was trained on them."""
    project = Project(tmp_path_factory.mktemp("trained"))
    lab = encode_stored(rgb2lab(data.immunohistochemistry()))
    starts = range(0, len(lab) - SIDE, 64)
    tiles = [lab[y : y + SIDE, x : x + SIDE] for y in starts for x in starts]
    write_lab(project, {f"tile{number}": tile for number, tile in enumerate(tiles[::2])})
    write_test_split(project, tiles[1::2])
    train(project, SETTINGS)
    return project


@pytest.fixture
def good(trained: Project) -> Path:
    """The trained model."""
    return trained.candidate


@pytest.fixture
def pale(good: Path, tmp_path: Path) -> Path:
    """The trained model with a third of its color: better than none, and worse than all of it."""
    model = load_model(good)
    network = model.network
    assert isinstance(network, RichartClassifier)
    with torch.no_grad():
        for parameter in network.layers[-1].parameters():
            parameter.div_(3)
    save_model(model, tmp_path / "pale")
    return tmp_path / "pale"


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Another number than the settings ask for."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def submit(project: Project, trained: Project, two_threads: None) -> Submit:
    """Evaluate and register a model, and decide upon it."""
    shutil.copytree(trained.lab, project.lab)

    def run(folder: Path) -> PromoteResult:
        shutil.rmtree(project.candidate, ignore_errors=True)
        shutil.copytree(folder, project.candidate)
        evaluate(project, SETTINGS)
        register(project, SETTINGS)
        return promote(project, SETTINGS)

    return run


def current_champion(project: Project) -> Version:
    found = Registry(project, SETTINGS).champion()
    assert found is not None
    return found


def difference(project: Project) -> float:
    """The mean ΔE 2000 of the evaluation."""
    metrics = json.loads((project.evaluation / "metrics.json").read_text())
    return float(metrics["model"]["delta_e_2000"])


def test_a_better_model_takes_the_place_of_the_champion(
    project: Project, submit: Submit, pale: Path, good: Path
) -> None:
    first = submit(pale)
    assert first.promoted, first.reason
    assert set(first.gains) == {"grey", "mean_color"}
    before = difference(project)
    second = submit(good)
    assert second.promoted, second.reason
    assert set(second.gains) == {"champion"}
    gain = second.gains["champion"]
    assert gain["images"] == 32
    assert gain["mean"] == pytest.approx(before - difference(project), abs=2e-4)
    assert current_champion(project).version == 2
    entries = ledger.read(project.ledger)
    assert [(entry["version"], entry["promoted"]) for entry in entries] == [(1, True), (2, True)]
    assert [entry["champion_before"] for entry in entries] == [None, 1]
    assert ledger.verify(project.ledger) is None


def test_a_worse_model_is_refused(project: Project, submit: Submit, pale: Path, good: Path) -> None:
    assert submit(good).promoted
    before = difference(project)
    decision = submit(pale)
    assert not decision.promoted
    gain = decision.gains["champion"]
    assert gain["mean"] == pytest.approx(before - difference(project), abs=2e-4)
    assert gain["mean"] < 0
    assert gain["share"] < 0.5
    assert current_champion(project).version == 1
    assert [entry["action"] for entry in ledger.read(project.ledger)] == ["promote", "refuse"]


def test_the_champion_measured_again_gives_the_numbers_of_its_evaluation(
    project: Project, submit: Submit, good: Path
) -> None:
    submit(good)
    own = read_table(project.evaluation / "per_image.csv")["model"]
    again = measure_champion(Registry(project, SETTINGS), current_champion(project))
    assert again.ids == own.ids
    assert np.array_equal(again.weights, own.weights)
    assert again.values.keys() == own.values.keys()
    for metric, values in own.values.items():
        assert np.array_equal(again.values[metric], values), metric


def test_the_same_predictions_gain_exactly_nothing(
    project: Project, submit: Submit, good: Path, tmp_path: Path
) -> None:
    submit(good)
    same = shutil.copytree(good, tmp_path / "same")
    # Other bytes that say the same make another digest, and so another version.
    description = same / "model.json"
    description.write_text(json.dumps(json.loads(description.read_text()), indent=7))
    decision = submit(same)
    assert (decision.version, decision.promoted) == (2, False)
    gain = decision.gains["champion"]
    assert (gain["mean"], gain["low"], gain["high"], gain["share"]) == (0, 0, 0, 0)


def test_the_champion_is_measured_on_the_device_and_with_the_threads_of_the_candidate(
    project: Project, submit: Submit, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Colorizer.predict_ab
    seen: list[tuple[int, torch.device]] = []

    def watched(self: Colorizer, lightness: Tensor) -> Tensor:
        seen.append((torch.get_num_threads(), lightness.device))
        return predict(self, lightness)

    monkeypatch.setattr(Colorizer, "predict_ab", watched)
    submit(good)
    (as_candidate,) = set(seen)
    assert as_candidate[0] == SETTINGS.training.threads
    seen.clear()
    measure_champion(Registry(project, SETTINGS), current_champion(project))
    assert set(seen) == {as_candidate}
    assert torch.get_num_threads() == 2
