"""Each source, network and codebook takes its own settings and no other's."""

from pathlib import Path

import pytest

from chromaflow import settings
from chromaflow.errors import SettingsError
from chromaflow.project.paths import Project
from chromaflow.settings.base import Kind, choices_in, fields_at, kinds_of
from chromaflow.settings.groups import Settings
from chromaflow.settings.network_names import NETWORKS
from chromaflow.settings.sources import SOURCES

CHECKOUT = Project(Path(__file__).resolve().parents[2])
CHOICES: dict[str, dict[str, type[Kind]]] = {
    ".".join(path): kinds_of(fields_at(Settings, path)[0].annotation)
    for path in choices_in(Settings)
}
OTHERS = [
    (choice, name, key)
    for choice, kinds in CHOICES.items()
    for name, kind in kinds.items()
    for key in sorted({key for other in kinds.values() for key in other.model_fields})
    if key not in kind.model_fields
]


def test_what_has_kinds() -> None:
    assert list(CHOICES) == ["source", "model.network", "model.codebook"]
    assert tuple(CHOICES["source"]) == SOURCES
    assert sorted(CHOICES["model.network"]) == list(NETWORKS)


def test_every_source_says_what_it_is() -> None:
    for kind in CHOICES["source"].values():
        assert (kind.__doc__ or "").startswith("Where the images come from: ")


@pytest.mark.parametrize(("choice", "name", "key"), OTHERS)
def test_a_setting_of_another_kind_is_refused_by_name(choice: str, name: str, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(CHECKOUT, overrides=[f"{choice}.name={name}", f"{choice}.{key}=x"])
    owners = [other for other, kind in CHOICES[choice].items() if key in kind.model_fields]
    told = f"{choice}.{key} does not apply to {choice}.name = {name}, but to "
    line = next(line for line in caught.value.problem.splitlines() if told in line)
    assert all(owner in line for owner in owners)
    which = owners[0] if len(owners) == 1 else "one of these"
    assert f"set {choice}.name to {which}, or leave {choice}.{key} out" in line


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("source.foldr=x", r"unknown setting source\.foldr; .* source\.folder\?"),
        (
            "model.network.widht=1",
            r"unknown setting model\.network\.widht; .* model\.network\.width",
        ),
        ("model.network=unett", r"model\.network\.name = 'unett' is not known; .* unet"),
        ("model.codebook=grid", r"model\.codebook\.name = 'grid' is not known; .* grid313"),
        ("model.width=0.5", r"model\.width is called model\.network\.width now"),
        ("training.rebalance=1", r"training\.rebalance is called model\.codebook\.rebalance now"),
    ],
)
def test_what_nothing_is_called_offers_what_there_is(override: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        settings.load(CHECKOUT, overrides=[override])
