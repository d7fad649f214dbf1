"""What --set changes, in whatever order, and what it forgets."""

import pytest

from chromaflow import settings
from chromaflow.errors import SettingsError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from chromaflow.settings.codebooks import SomCodebook
from chromaflow.settings.networks import DeepNetwork
from chromaflow.settings.sources import FolderSource, SampleSource, UrlsSource


def load(project: Project, *overrides: str) -> Settings:
    return settings.load(project, overrides=overrides)


def test_kind_and_setting_come_in_either_order(project: Project) -> None:
    choice, folder = "source.name=folder", "source.folder=photographs"
    expected = FolderSource(folder="photographs")
    assert load(project, choice, folder).source == expected
    assert load(project, folder, choice).source == expected


def test_another_kind_keeps_what_it_has_and_forgets_the_rest(project: Project) -> None:
    settings.save(project, load(project, "source.tile=64", "source.images=5"))
    assert load(project, "source.name=urls").source == UrlsSource(images=5)
    settings.save(project, load(project, "source.name=urls"))
    assert load(project, "source.name=sample").source == SampleSource(images=5)


def test_what_the_new_kind_does_not_have_may_not_be_asked_for(project: Project) -> None:
    with pytest.raises(SettingsError, match=r"source\.tile does not apply to source\.name = urls"):
        load(project, "source.tile=64", "source.name=urls")


@pytest.mark.parametrize(
    "overrides",
    [
        ["source=urls", "source.table=a.csv"],
        ["source={name: urls, table: a.csv}"],
        ["source.table=a.csv", "source={name: urls}"],
        ["source.name=coco", "source.table=a.csv", "source.name=urls"],
    ],
)
def test_a_kind_may_be_written_in_several_ways(project: Project, overrides: list[str]) -> None:
    assert load(project, *overrides).source == UrlsSource(table="a.csv")


def test_a_recipe_takes_another_codebook_and_keeps_what_both_have(project: Project) -> None:
    overrides = ["model.codebook=som", "model.network.width=0.5"]
    values = settings.load(project, recipe="zhang2016-laptop", overrides=overrides).model
    assert values.codebook == SomCodebook(temperature=0.38, rebalance=0.5)
    assert values.network == DeepNetwork(name="zhang2016", width=0.5)


def test_a_group_keeps_what_is_not_named(project: Project) -> None:
    values = load(project, "training.batch=3", "training={steps: 5, crop: 64}").training
    assert (values.batch, values.steps, values.crop) == (3, 5, 64)


def test_a_mapping_is_replaced_whole(project: Project) -> None:
    settings.save(project, load(project, "download.mirrors={http://a: http://b}"))
    values = load(project, "download.mirrors={http://c: http://d}")
    assert values.download.mirrors == {"http://c": "http://d"}


def test_the_later_one_counts(project: Project) -> None:
    assert load(project, "seed=3", "seed=4").seed == 4


def test_the_value_of_a_text_setting_is_taken_as_it_is(project: Project) -> None:
    for text in ("/photos #1", "1999", "a: b", "", "true"):
        values = load(project, "source.name=folder", f"source.folder={text}")
        assert values.source == FolderSource(folder=text)
    quoted = load(project, "source.folder='a b'", "source.name=folder")
    assert quoted.source == FolderSource(folder="a b")


def test_a_quantity_keeps_its_unit_beside_another_change(project: Project) -> None:
    settings.save(project, load(project, "runtime.checkpoint_every=2min"))
    values = load(project, "runtime.mirror_cache=3MiB").runtime
    assert (values.checkpoint_every, values.mirror_cache) == (120, 3 * 2**20)
