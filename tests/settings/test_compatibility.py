"""What is minimized, against codebook and network: told when the settings are read."""

import pytest

from chromaflow import settings
from chromaflow.errors import SettingsError
from chromaflow.project.paths import Project


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model.codebook=regression"], "training.losses names cross_entropy"),
        (
            ["model.codebook=regression", "training.losses={l1: 1, kl: 1}"],
            "training.losses names kl, which needs a codebook of bins, but "
            "model.codebook = regression",
        ),
        (["training.losses={cross_entropy: 1, scene: 0.003}"], "only the network iizuka"),
        (["training.losses={l1: 1, suggestions: 1}"], "only the network zhang2017"),
        (["training.losses={adversarial: 1}"], "names only adversarial"),
    ],
)
def test_what_does_not_is_told_with_what_does(
    project: Project, overrides: list[str], told: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(project, overrides=overrides)
    assert told in caught.value.problem
    assert "set " in caught.value.problem or "add another" in caught.value.problem


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.codebook=regression", "training.losses={l2: 1}"],
        ["training.losses={l2: 1, l1: 1, huber: 1, kl: 1}"],
        ["model.network=iizuka", "training.losses={cross_entropy: 1, scene: 0.003}"],
        ["training.losses={adversarial: 1, l1: 100, perceptual: 5, colorfulness: 0.5}"],
    ],
)
def test_what_does_is_taken(project: Project, overrides: list[str]) -> None:
    assert settings.load(project, overrides=overrides).training.losses.named()
