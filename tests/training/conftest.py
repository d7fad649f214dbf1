from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from skimage.color import rgb2lab
from skimage.transform import resize

from chromaflow.color.stored import ab_histogram, encode_stored
from chromaflow.data.store import chunks
from chromaflow.data.store.read import LabItem
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.training.fit import train
from tests.support.disturbed import outputs


def photographs() -> list[np.ndarray]:
    """Squares of real photographs, 72×64, stored Lab."""
    squares = []
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        rgb = resize(getattr(skimage.data, name)(), (144, 144), anti_aliasing=True)
        lab = encode_stored(rgb2lab(rgb))
        squares += [lab[y : y + 72, x : x + 64] for y in (0, 72) for x in (0, 70)]
    return squares


@pytest.fixture(scope="session")
def squares() -> list[np.ndarray]:
    return photographs()


MakeLab = Callable[..., Project]


@pytest.fixture(scope="session")
def make_lab_in(squares: list[np.ndarray]) -> MakeLab:
    """Makes a project whose train split holds 12 squares, and its validation split 4 or none."""

    def make(root: Path, *, validation: bool = True) -> Project:
        project = Project(root)
        splits = {"train": squares[:12], "validation": squares[12:] if validation else []}
        for split, images in splits.items():
            folder = project.lab / split
            folder.mkdir(parents=True)
            if images:
                items = (LabItem(id=f"{split}-{i}", lab=lab) for i, lab in enumerate(images))
                chunks.write_index(folder, chunks.write(folder, "group", 2**20, items), 2**20)
        histogram = sum(ab_histogram(image) for image in squares[:12])
        np.save(project.lab / "ab_histogram.npy", histogram)
        return project

    return make


@pytest.fixture
def make_lab(tmp_path: Path, make_lab_in: MakeLab) -> MakeLab:
    """The same in a folder of the test."""
    return partial(make_lab_in, tmp_path / "checkout")


@pytest.fixture(scope="session")
def small() -> Settings:
    """A training of a few seconds."""
    return Settings.model_validate(
        {
            "model": {"network": {"width": 0.0625}},
            "training": {
                "steps": 6,
                "batch": 2,
                "crop": 32,
                "validate_every": 3,
                "accelerator": "cpu",
                "threads": 1,
            },
        }
    )


@pytest.fixture(scope="session")
def straight(
    make_lab_in: MakeLab, small: Settings, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """What an undisturbed training writes."""
    project = make_lab_in(tmp_path_factory.mktemp("straight"))
    train(project, small)
    return outputs(project)
