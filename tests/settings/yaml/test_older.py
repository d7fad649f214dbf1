"""Files of an older chromaflow are read, and one line says how to write them anew."""

import warnings
from pathlib import Path

import pytest

from chromaflow import settings
from chromaflow.errors import ChromaflowWarning
from chromaflow.project.paths import Project
from chromaflow.settings import Model, Settings
from chromaflow.settings.codebooks import RegressionCodebook
from chromaflow.settings.networks import DeepBackboneNetwork
from chromaflow.settings.sources import FolderSource, SampleSource

ROOT = Path(__file__).resolve().parents[3]
RECIPE = """\
model:
  network: ddcolor
  backbone: convnext_tiny.fb_in22k
  codebook: regression
  ab_range: 1.0
  bounded: false
training:
  losses: {l1: 12.8, perceptual: 5.0, adversarial: 1.0}
  perceptual_backbone: vgg16_bn
  huber_threshold: 3.0
  rebalance: 0.5
laptop:
  model:
    width: 0.25
    depth: 0.34
    backbone: tf_efficientnet_lite0
    ab_range: 128.0
  training:
    losses: {l1: 128.0, perceptual: 2.0, adversarial: 0.5}
    perceptual_backbone: tf_efficientnet_lite0
    discriminator_width: 0.25
"""
FLAT_SOURCE = """\
source:
  name: NAME  # sample, folder, cvcl, coco, imagenet, unsplash, urls, huggingface
  folder: "photographs"  # folder: the folder of your own photographs
  archive: ""
  annotations: ""
  table: ""
  repository: ""
  revision: main
  image_column: image
  label_column: label
  address: ""
  subset: ""
  categories: []
  images: 7
  salt: chromaflow
  width: 0
  historic: ""
  license: unknown
  tile: 96
  shard_images: 256
  max_pixels: 100000000
"""


def test_settings_of_other_kinds_are_ignored_with_one_line(project: Project) -> None:
    project.params.write_text(FLAT_SOURCE.replace("NAME", "folder"))
    with pytest.warns(ChromaflowWarning) as told:
        values = settings.load(project)
    assert values.source == FolderSource(folder="photographs", images=7)
    (line,) = [str(item.message) for item in told]
    assert "\n" not in line
    assert line.startswith("params.yaml: settings that do not apply are ignored (")
    assert "source.archive, source.annotations, source.table and 9 more" in line
    assert "chromaflow settings --write rewrites it" in line


def test_a_whole_file_is_read_as_it_was_meant(project: Project) -> None:
    project.params.write_bytes(Path(__file__).with_name("older_params.yaml").read_bytes())
    with pytest.warns(ChromaflowWarning) as told:
        values = settings.load(project)
    assert len(told) == 1
    assert values == settings.load(project, "sample")


def test_written_anew_nothing_is_left_to_say(project: Project) -> None:
    project.params.write_text(FLAT_SOURCE.replace("NAME", "sample"))
    with pytest.warns(ChromaflowWarning):
        values = settings.load(project)
    settings.save(project, values)
    assert settings.load(project) == values
    assert values.source == SampleSource(tile=96, images=7)


def test_a_preset_is_told_how_its_settings_are_written_now(project: Project) -> None:
    (project.configs / "mine.yaml").write_text("source: {name: coco, tile: 96}\n")
    told = r"configs/mine\.yaml: .* ignored \(source\.tile\); chromaflow settings --preset mine"
    with pytest.warns(ChromaflowWarning, match=told):
        settings.load(project, "mine")


def test_a_file_without_a_kind_is_of_the_default_one(project: Project) -> None:
    project.params.write_text("source: {tile: 96, folder: x}\n")
    with pytest.warns(ChromaflowWarning, match=r"ignored \(source\.folder\)"):
        assert settings.load(project).source == SampleSource(tile=96)


def test_the_parts_of_a_recipe_are_put_together_first(project: Project) -> None:
    (project.recipes / "mine.yaml").write_text(RECIPE)
    with pytest.warns(ChromaflowWarning) as told:
        published, laptop = (settings.load(project, recipe=n) for n in ("mine", "mine-laptop"))
    assert published.model == Model.model_validate(
        {
            "network": DeepBackboneNetwork(name="ddcolor", backbone="convnext_tiny.fb_in22k"),
            "codebook": RegressionCodebook(ab_range=1.0, bounded=False),
        }
    )
    assert laptop.model == Model.model_validate(
        {
            "network": DeepBackboneNetwork(
                name="ddcolor", width=0.25, depth=0.34, backbone="tf_efficientnet_lite0"
            ),
            "codebook": RegressionCodebook(ab_range=128.0, bounded=False),
        }
    )
    assert published.training.losses.model_dump() == {
        "l1": {"weight": 12.8},
        "perceptual": {
            "weight": 5.0,
            "backbone": "vgg16_bn",
            "backbone_weights": "published",
        },
        "adversarial": {"weight": 1.0, "discriminator_width": 1.0, "discriminator_rate": 1.0},
    }
    assert laptop.training.losses.model_dump() == {
        "l1": {"weight": 128.0},
        "perceptual": {
            "weight": 2.0,
            "backbone": "tf_efficientnet_lite0",
            "backbone_weights": "published",
        },
        "adversarial": {"weight": 0.5, "discriminator_width": 0.25, "discriminator_rate": 1.0},
    }
    lines = [str(item.message) for item in told]
    assert len(lines) == 2
    assert "model.network.backbone was model.backbone, model.codebook.ab_range was" in lines[0]
    assert "ignored (training.huber_threshold, training.rebalance); chromaflow" in lines[0]
    assert "chromaflow settings --recipe mine shows" in lines[0]


def test_what_this_project_holds_is_as_it_is_written_now() -> None:
    checkout = Project(ROOT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(settings.load(checkout), Settings)
        for preset in settings.preset_names(checkout):
            settings.load(checkout, preset)
        for recipe in settings.recipe_names(checkout):
            settings.load(checkout, recipe=recipe)
