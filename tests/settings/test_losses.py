"""Losses by name: a weight alone, or with the settings that only this loss has."""

from pathlib import Path

import pytest
import yaml

from chromaflow import settings
from chromaflow.errors import SettingsError
from chromaflow.project.paths import Project
from chromaflow.settings.losses import HuberLoss, LossSettings, WeightedLoss

CHECKOUT = Project(Path(__file__).resolve().parents[2])


def load(*overrides: str, recipe: str = "") -> LossSettings:
    return settings.load(CHECKOUT, overrides=overrides, recipe=recipe).training.losses


def test_a_weight_alone_stands_for_a_loss() -> None:
    short, long = ({"l1": 2.0}, {"l1": {"weight": 2.0}})
    assert LossSettings.model_validate(short) == LossSettings.model_validate(long)
    assert LossSettings.model_validate(short) == LossSettings(l1=WeightedLoss(weight=2.0))


def test_only_the_named_ones_are_there() -> None:
    losses = LossSettings.model_validate({"huber": 1, "cross_entropy": 2.0})
    assert list(losses.named()) == ["cross_entropy", "huber"]
    assert "huber" in losses
    assert "l1" not in losses
    assert losses.model_dump() == {
        "cross_entropy": {"weight": 2.0},
        "huber": {"weight": 1.0, "threshold": 10.0},
    }


def test_the_order_in_a_file_decides_nothing() -> None:
    one = LossSettings.model_validate({"l1": 1.0, "adversarial": 2.0})
    other = LossSettings.model_validate({"adversarial": 2.0, "l1": 1.0})
    assert list(one.named().items()) == list(other.named().items())


def test_losses_are_replaced_whole_and_changed_one_by_one() -> None:
    assert list(load("training.losses={l1: 1}").named()) == ["l1"]
    both = load("training.losses.huber=2", "training.losses.huber.threshold=3")
    assert both.huber == HuberLoss(weight=2.0, threshold=3.0)
    assert both.cross_entropy == WeightedLoss(weight=1.0)
    without = load("training.losses.huber=2", "training.losses.cross_entropy=null")
    assert list(without.named()) == ["huber"]


def test_a_laptop_has_the_losses_that_its_part_names() -> None:
    published, laptop = load(recipe="ddcolor-tiny"), load(recipe="ddcolor-tiny-laptop")
    assert published.perceptual is not None
    assert laptop.perceptual is not None
    assert (published.perceptual.backbone, laptop.perceptual.backbone) == (
        "vgg16_bn",
        "tf_efficientnet_lite0",
    )


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("losses={adverserial: 1, l1: 1}", "unknown setting training.losses.adverserial; did you "),
        ("losses={}", "training.losses is empty; add one, such as {l1: 1.0}"),
        ("losses=3", "training.losses = 3: it is a group"),
        ("losses.l1=0", "training.losses.l1.weight = 0"),
        ("losses.l1=much", "training.losses.l1.weight = 'much'"),
        ("losses.l1=true", "training.losses.l1.weight = True"),
        ("losses.huber.threshold=3", "training.losses.huber needs weight: --set training.losses."),
        (
            "losses={l1: {weight: 1, threshold: 3}}",
            "training.losses.l1.threshold does not apply to l1, but to huber; leave training.",
        ),
        ("huber_threshold=3", "training.huber_threshold is called training.losses.huber.threshold"),
    ],
)
def test_what_cannot_be_is_told_by_name(override: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(f"training.{override}")
    assert told in caught.value.problem


@pytest.mark.parametrize(
    "path", sorted(CHECKOUT.recipes.glob("*.yaml")), ids=lambda path: path.stem
)
def test_a_recipe_names_its_losses_in_the_order_in_which_they_are_summed(path: Path) -> None:
    """Two summands may change places; with more, another order would give other last digits."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    parts = (values, values.get("laptop", {}))
    for losses in (part.get("training", {}).get("losses", {}) for part in parts):
        in_order = [name for name in LossSettings.model_fields if name in losses]
        assert list(losses) == in_order or len(losses) < 3
