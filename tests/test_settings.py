from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chromaflow import settings
from chromaflow.errors import SettingsError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def test_the_committed_params_are_the_sample_preset():
    checkout = Project(ROOT)
    expected = settings.render(settings.load(checkout, "sample"))
    assert (ROOT / "params.yaml").read_text() == expected


@pytest.mark.parametrize("preset", settings.preset_names(Project(ROOT)))
def test_every_preset_loads(preset):
    assert isinstance(settings.load(Project(ROOT), preset), Settings)


def test_rendered_settings_read_back_equal(project):
    values = settings.load(
        project,
        overrides=["training.steps=7", "preprocess.shard_size=3MiB", "flow.retry_delay=2min"],
    )
    settings.save(project, values)
    assert settings.load(project) == values
    assert values.preprocess.shard_size == 3 * 2**20
    assert values.flow.retry_delay == 120


@given(
    steps=st.integers(1, 10**9),
    rate=st.floats(1e-9, 1, exclude_min=True),
    salt=st.text(st.characters(blacklist_categories=["Cs", "Cc"])),
    size=st.integers(1, 2**45),
    delay=st.integers(0, 10**6),
)
def test_any_settings_survive_the_file(steps, rate, salt, size, delay):
    values = Settings.model_validate(
        {
            "training": {"steps": steps, "learning_rate": rate},
            "split": {"salt": salt},
            "preprocess": {"shard_size": f"{size}B"},
            "flow": {"retry_delay": f"{delay}s"},
        }
    )
    read = Settings.model_validate(yaml.safe_load(settings.render(values)))
    assert read == values


def test_every_setting_says_what_it_means():
    text = settings.render(Settings())
    assert all("#" in line for line in text.splitlines() if line.startswith("  "))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.step=3", "unknown setting training.step; did you mean training.steps"),
        ("trainings.steps=3", "unknown setting trainings; did you mean training"),
        ("training.steps=many", "training.steps = 'many'"),
        ("training.steps=0", "training.steps = 0"),
        ("source.name=cvlc", "source.name = 'cvlc'"),
        ("runtime.checkpoint_every=30", "a duration needs a unit"),
        ("runtime.checkpoint_every=3 parsec", "unknown unit of time 'parsec'"),
        ("runtime.checkpoint_every=soon", "'soon' is no duration"),
        ("preprocess.shard_size=64", "a size needs a unit"),
        ("preprocess.shard_size=3 parsec", "'3 parsec' is no size"),
        ("training", "write it as group.name=value"),
        ("=3", "write it as group.name=value"),
        ("training=3", "training = 3"),
    ],
)
def test_a_wrong_override_is_named(project, override, message):
    with pytest.raises(SettingsError, match=r".") as caught:
        settings.load(project, overrides=[override])
    assert message in str(caught.value)


def test_an_unknown_preset_offers_the_near_names(project):
    with pytest.raises(SettingsError, match="did you mean cvcl-open-country"):
        settings.load(project, "cvcl-opencountry")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [", "not valid YAML"),
        ("- seed", "must hold settings by name"),
        ("sed: 3", "unknown setting sed"),
        ("training: {steps: 3, stteps: 4}", "training.stteps"),
    ],
)
def test_a_broken_params_file_is_named(project, text, message):
    project.params.write_text(text)
    with pytest.raises(SettingsError, match=r"params\.yaml") as caught:
        settings.load(project)
    assert message in str(caught.value)


def test_an_empty_params_file_gives_the_defaults(project):
    project.params.write_text("")
    assert settings.load(project) == Settings()


def test_changed_names_what_differs():
    new = Settings.model_validate({"seed": 3, "training": {"steps": 5}})
    assert settings.changed(Settings(), new) == [("seed", 17, 3), ("training.steps", 1000, 5)]


def test_the_value_of_a_text_setting_is_taken_as_it_is(project):
    for text in ("/photos #1", "1999", "a: b", "", "true"):
        assert settings.load(project, overrides=[f"source.folder={text}"]).source.folder == text
    assert settings.load(project, overrides=["source.folder='a b'"]).source.folder == "a b"


@pytest.mark.parametrize("text", ["3e-3", "3E-3", "+3e-3", "3.e-3", "3.0e-3", "0.003"])
def test_a_number_may_be_written_as_usual(project, text):
    loaded = settings.load(project, overrides=[f"training.learning_rate={text}"])
    assert loaded.training.learning_rate == 0.003
    project.params.write_text(f"training:\n  losses: {{l1: {text}}}\n")
    assert settings.load(project).training.losses == {"l1": 0.003}


def test_a_text_that_looks_like_a_number_stays_a_text(project):
    values = {"source": {"folder": "1e5", "categories": ["1e5", "12e34567"]}}
    saved = Settings.model_validate(values)
    settings.save(project, saved)
    assert settings.load(project) == saved


def test_a_key_stands_once(project):
    project.params.write_text("training:\n  steps: 4\nseed: 1\ntraining:\n  batch: 3\n")
    with pytest.raises(SettingsError, match="training stands there twice"):
        settings.load(project)


def test_a_group_without_settings_keeps_its_defaults(project):
    project.params.write_text("training:\nseed: 1\n")
    assert settings.load(project).training == settings.Training()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.steps=true", "training.steps = True"),
        ("training.learning_rate=.inf", "training.learning_rate"),
        ("seed=99999999999999999999", "seed ="),
        ("preprocess.shard_size=0B", "above zero"),
        ("split.test=0.95", "leave nothing to train"),
        ("servers.mlflow_port=4200", "must differ"),
        ("tracking.model=a/b", "tracking.model = 'a/b'"),
        ("tracking.uri=banana", "write an address such as"),
        ("training=4", "takes settings by name"),
    ],
)
def test_values_that_cannot_be(project, override, told):
    with pytest.raises(SettingsError) as caught:
        settings.load(project, overrides=[override])
    assert told in str(caught.value)


class TestLossesFit:
    """What is minimized, against codebook and network: told when the settings are read."""

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
            (["training.losses={adversarial: 1}"], "names adversarial alone"),
        ],
    )
    def test_what_does_not_is_told_with_what_does(self, project, overrides, told):
        with pytest.raises(SettingsError) as caught:
            settings.load(project, overrides=overrides)
        assert told in caught.value.problem
        assert "set " in caught.value.problem or "name another" in caught.value.problem

    @pytest.mark.parametrize(
        "overrides",
        [
            ["model.codebook=regression", "training.losses={l2: 1}"],
            ["training.losses={l2: 1, l1: 1, huber: 1, kl: 1}"],
            ["model.network=iizuka", "training.losses={cross_entropy: 1, scene: 0.003}"],
            ["training.losses={adversarial: 1, l1: 100, perceptual: 5, colorfulness: 0.5}"],
        ],
    )
    def test_what_does_is_taken(self, project, overrides):
        assert settings.load(project, overrides=overrides).training.losses

    def test_a_loss_that_is_not_known_is_told_with_the_near_ones(self, project):
        told = "training.losses = 'adverserial' is not known; did you mean adversarial"
        with pytest.raises(SettingsError, match=told):
            settings.load(project, overrides=["training.losses={adverserial: 1, l1: 1}"])
