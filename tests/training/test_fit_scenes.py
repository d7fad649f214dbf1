"""Labels on their way from the shards to the network that learns from them."""

import json
from collections.abc import Callable

import pytest
import torch

from chromaflow.data.store import chunks
from chromaflow.errors import DataError
from chromaflow.models.model_folder import load_model
from chromaflow.project.paths import Project
from chromaflow.settings import Settings, Training
from chromaflow.training.data.crops import Crops
from chromaflow.training.data.module import LabData, collate
from chromaflow.training.fit import fingerprint, train

MakeLab = Callable[..., Project]
NAMES = ["coast", "forest", "street"]


def number_of(identifier: str) -> int:
    """Every fourth image of the test's has no label."""
    return int(identifier.partition("-")[2]) % 4 - 1


def write_labels(project: Project, names: list[str], number: Callable[[str], int]) -> None:
    for split, images in (("train", 12), ("validation", 4)):
        numbers = [number(f"{split}-{i}") for i in range(images)]
        chunks.write_labels(project.lab / split, names, numbers)


@pytest.fixture
def project(make_lab: MakeLab) -> Project:
    project = make_lab()
    write_labels(project, NAMES, number_of)
    return project


def iizuka(small: Settings, **training: object) -> Settings:
    groups = {name: getattr(small, name).model_dump() for name in ("model", "training")}
    groups["model"] |= {
        "network": {"name": "iizuka", "width": small.model.network.width},
        "codebook": "regression",
    }
    groups["training"] |= {"losses": {"l2": 1.0, "scene": 0.01}, "steps": 2, **training}
    return Settings.model_validate(groups)


def crops_of(project: Project, **training: object) -> Crops:
    losses = {"losses": {"l2": 1.0, "scene": 0.01}}
    return Crops(
        project.lab / "train", Training.model_validate({"crop": 32, **losses, **training}), 3
    )


@pytest.mark.parametrize("zoom", [0.0, 0.5])
def test_crops_keep_the_label_of_their_image(project: Project, zoom: float) -> None:
    crops = crops_of(project, zoom=zoom)
    batch = collate([crops[number] for number in range(24)])
    assert batch.scenes is not None
    assert batch.scenes.dtype == torch.int64
    assert batch.scenes.tolist() == [number_of(identifier) for identifier in batch.ids]
    assert set(batch.scenes.tolist()) == {-1, 0, 1, 2}


def test_squares_have_labels_too_and_warping_keeps_them(project: Project, small: Settings) -> None:
    data = LabData(project, iizuka(small, zoom=0.5))
    assert data.center_crops is not None
    squares = collate([data.center_crops[i] for i in range(4)])
    assert squares.scenes is not None
    assert squares.scenes.tolist() == [number_of(identifier) for identifier in squares.ids]
    batch = collate([data.crops[number] for number in range(4)])
    assert batch.amounts is not None
    warped = data.on_after_batch_transfer(batch, 0)
    assert torch.equal(warped.scenes, batch.scenes)  # type: ignore[arg-type]


def test_nobody_reads_labels_without_the_loss(project: Project) -> None:
    for split in ("train", "validation"):
        (project.lab / split / "labels.json").write_text("broken")
    crops = crops_of(project, losses={"l2": 1.0})
    assert collate([crops[0], crops[1]]).scenes is None


def test_a_network_learns_as_many_scenes_as_there_are(project: Project, small: Settings) -> None:
    train(project, iizuka(small))
    network = load_model(project.candidate).network
    assert network.config()["scenes"] == 3
    assert network.scene[-1].out_features == 3  # type: ignore[index, union-attr]


@pytest.mark.parametrize("names", [[], ["coast"]])
def test_data_without_two_scenes_trains_all_the_same(
    make_lab: MakeLab, small: Settings, names: list[str]
) -> None:
    project = make_lab(validation=False)
    chunks.write_labels(project.lab / "train", names, [len(names) - 1] * 12)
    summary = train(project, iizuka(small))
    assert summary["steps"] == 2
    assert load_model(project.candidate).network.config()["scenes"] == len(names)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_shards_without_labels_are_told(project: Project, small: Settings, split: str) -> None:
    (project.lab / split / "labels.json").unlink()
    with pytest.raises(DataError, match=rf"{split}/labels\.json(.|\n)*chromaflow preprocess"):
        train(project, iizuka(small))


def test_labels_of_other_shards_are_told(project: Project, small: Settings) -> None:
    path = project.lab / "validation" / "labels.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "index": "0" * 64}))
    with pytest.raises(DataError, match="of other shards"):
        train(project, iizuka(small))


def test_labels_decide_where_a_loss_looks_at_them(project: Project, small: Settings) -> None:
    looking, others = iizuka(small), iizuka(small, losses={"l2": 1.0})
    before = [fingerprint(project, settings) for settings in (looking, others)]
    write_labels(project, NAMES, lambda _: 0)
    after = [fingerprint(project, settings) for settings in (looking, others)]
    assert after[0] != before[0]
    assert after[1] == before[1]
    (project.lab / "test").mkdir()
    (project.lab / "test" / "labels.json").write_text("{}")
    assert fingerprint(project, looking) == after[0]
