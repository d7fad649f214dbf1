"""Settings of params.yaml, presets, recipes and --set; what is wrong is told by name."""

from pathlib import Path

import pytest

from chromaflow import settings
from chromaflow.errors import SettingsError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("preset", settings.preset_names(Project(ROOT)))
def test_every_preset_loads(preset: str) -> None:
    assert isinstance(settings.load(Project(ROOT), preset), Settings)


@pytest.mark.parametrize("recipe", settings.recipe_names(Project(ROOT)))
def test_every_recipe_loads(recipe: str) -> None:
    assert isinstance(settings.load(Project(ROOT), recipe=recipe), Settings)


def test_a_recipe_replaces_model_and_training_alone(project: Project) -> None:
    changes = ["model.refine=guided", "training.steps=7", "source.name=coco", "seed=3"]
    settings.save(project, settings.load(project, overrides=changes))
    values = settings.load(project, recipe="efficientnet")
    assert (values.seed, values.source.name) == (3, "coco")
    assert values.model == settings.Model()
    assert values.training == settings.Training()


def test_the_laptop_part_goes_over_its_recipe(project: Project) -> None:
    published, laptop = (
        settings.load(project, recipe=name) for name in ("zhang2016", "zhang2016-laptop")
    )
    assert (published.training.steps, laptop.training.steps) == (450_000, 500)
    assert published.training.initialization == laptop.training.initialization == "he"


def test_a_recipe_sets_nothing_else(project: Project) -> None:
    path = project.recipes / "zhang2016.yaml"
    path.write_text(path.read_text() + "seed: 3\n")
    with pytest.raises(SettingsError, match=r"zhang2016\.yaml: a recipe sets model and training"):
        settings.load(project, recipe="zhang2016")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.step=3", "unknown setting training.step; did you mean training.steps"),
        ("trainings.steps=3", "unknown setting trainings; did you mean training"),
        ("training.steps=many", "training.steps = 'many'"),
        ("training.steps=0", "training.steps = 0"),
        ("source.name=cvlc", "source.name = 'cvlc' is not known; did you mean cvcl"),
        ("runtime.checkpoint_every=30", "a duration needs a unit"),
        ("runtime.checkpoint_every=3 parsec", "unknown unit of time 'parsec'"),
        ("runtime.checkpoint_every=soon", "'soon' is not a duration"),
        ("preprocess.shard_size=64", "a size needs a unit"),
        ("preprocess.shard_size=3 parsec", "'3 parsec' is not a size"),
        ("training.steps.x=3", "training.steps = {'x': 3}: Input should be a valid integer"),
        ("training", "write it as group.name=value"),
        ("=3", "write it as group.name=value"),
        ("training.=3", "write it as group.name=value"),
        ("training=3", "training = 3"),
        ("training.steps=true", "training.steps = True"),
        ("training.learning_rate=.inf", "training.learning_rate"),
        ("seed=99999999999999999999", "seed ="),
        ("preprocess.shard_size=0B", "above zero"),
        ("split.test=0.95", "leave no image to train on"),
        ("servers.mlflow_port=4200", "must differ"),
        ("tracking.model=a/b", "tracking.model = 'a/b'"),
        ("tracking.uri=banana", "write an address such as"),
        ("training=4", "takes settings by name"),
        (
            "download.mirrors={1: s3://bucket}",
            "download.mirrors = 1: Input should",
        ),
    ],
)
def test_a_wrong_override_is_named(project: Project, override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=r".") as caught:
        settings.load(project, overrides=[override])
    assert message in str(caught.value)


def test_an_unknown_preset_offers_the_near_names(project: Project) -> None:
    with pytest.raises(SettingsError, match="did you mean cvcl-open-country"):
        settings.load(project, "cvcl-opencountry")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [", "not valid YAML"),
        ("- seed", "must hold settings by name"),
        ("sed: 3", "unknown setting sed"),
        ("training: {steps: 3, stteps: 4}", "training.stteps"),
        ("source: {name: cvlc}", "source.name = 'cvlc'"),
        ("source: {name: [cvcl]}", "source.name = \"['cvcl']\" is not known"),
        ("source: [cvcl]", "source = ['cvcl']: it is a group"),
    ],
)
def test_a_broken_params_file_is_named(project: Project, text: str, message: str) -> None:
    project.params.write_text(text)
    with pytest.raises(SettingsError, match=r"params\.yaml") as caught:
        settings.load(project)
    assert message in str(caught.value)


def test_an_empty_params_file_gives_the_defaults(project: Project) -> None:
    project.params.write_text("")
    assert settings.load(project) == Settings()


@pytest.mark.parametrize("text", ["3e-3", "3E-3", "+3e-3", "3.e-3", "3.0e-3", "0.003"])
def test_a_number_may_be_written_as_usual(project: Project, text: str) -> None:
    loaded = settings.load(project, overrides=[f"training.learning_rate={text}"])
    assert loaded.training.learning_rate == 0.003
    project.params.write_text(f"training:\n  clip: {text}\n")
    assert settings.load(project).training.clip == 0.003


def test_a_key_stands_once(project: Project) -> None:
    project.params.write_text("training:\n  steps: 4\nseed: 1\ntraining:\n  batch: 3\n")
    with pytest.raises(SettingsError, match="training is given twice"):
        settings.load(project)


def test_a_group_without_settings_keeps_its_defaults(project: Project) -> None:
    project.params.write_text("training:\nsource:\nseed: 1\n")
    assert settings.load(project) == Settings(seed=1)
