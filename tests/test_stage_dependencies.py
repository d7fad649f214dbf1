"""A stage of DVC depends on all code that it loads, and the fingerprint on the code that trains."""

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

import pytest
import yaml

from chromaflow.training.fit import CODE
from tests.support.imports import data_files_of, loaded_from, modules_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "chromaflow"
MODULES = modules_of(PACKAGE)
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# What a stage loads and what cannot change its outputs, and why. A name stands for all below it,
# but that of the package for its `__init__.py` alone.
HARMLESS = {
    "chromaflow.console": "it draws on the terminal",
    "chromaflow.errors": "its texts end a stage, and a stage that failed has no outputs",
    "chromaflow.project.packages": "what is not installed fails a stage or changes no output",
    "chromaflow.project.paths": "where outputs lie: DVC fails a stage that writes none there",
    # A setting is a parameter of the stage, and DVC compares its value. The committed params.yaml
    # writes every setting out, so no default decides unseen; tests/test_settings.py holds that,
    # and what a text such as 16MiB is read as.
    "chromaflow.settings": "it reads the values that DVC itself compares",
}
BEGINNING = "it turns telemetry off; its version is in no output of the stage"
HARMLESS_TO = {
    "validate": {"chromaflow": BEGINNING},
    "describe": {},
    "preprocess": {"chromaflow": BEGINNING},
    "train": {
        "chromaflow": "it turns telemetry off; its version is in the fingerprint by itself",
        "chromaflow.project.dvc": "whether a finished training is repeated, with the same outcome",
        "chromaflow.project.addresses": "how an address is shown in a record",
        "chromaflow.data.snapshot": "what it reads is recorded, and trains nothing",
        "chromaflow.provenance": "it only records, as tracking does",
        "chromaflow.steps": "it hands the settings on and gives the summary a type",
        "chromaflow.tracking": "it only records; tests/training/test_fit.py compares the outputs",
    },
    "evaluate": {"chromaflow": BEGINNING},
}


def code_of(stage: str) -> list[str]:
    """Paths of code in `deps:`."""
    return [path for path in STAGES[stage]["deps"] if path.startswith("src/")]


@cache
def loaded_by(stage: str) -> Mapping[str, str]:
    """The modules that a stage loads, each with the one that imports it.

    What the settings import to check a value cannot change the value, which DVC compares.
    """
    return loaded_from({f"chromaflow.steps.{stage}"}, MODULES, closed=["chromaflow.settings"])


def below(name: str, places: Collection[str], separator: str) -> bool:
    """Whether a name is one of some places, or lies in one."""
    return any(name == place or name.startswith(place + separator) for place in places)


def uncovered(stage: str, deps: Collection[str], harmless: Collection[str]) -> list[str]:
    """What a stage loads that is neither in `deps` nor harmless, each with who imports it."""
    loaded = loaded_by(stage)
    others = set(harmless) - {"chromaflow"}
    decisive = [name for name in loaded if not below(name, others, ".") and name not in harmless]
    found = {MODULES[name]: f"{name}, imported by {loaded[name] or 'cli'}" for name in decisive}
    found |= {path: f"{path.name}, data of a module" for path in data_files_of(decisive, MODULES)}
    return [
        text
        for path, text in found.items()
        if not below(path.relative_to(ROOT).as_posix(), deps, "/")
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_it_loads(stage: str) -> None:
    assert uncovered(stage, code_of(stage), {**HARMLESS, **HARMLESS_TO[stage]}) == []


@pytest.mark.parametrize(("stage", "path"), [(s, p) for s in STAGES for p in code_of(s)])
def test_a_dependency_that_is_left_out_is_missed(stage: str, path: str) -> None:
    others = set(code_of(stage)) - {path}
    missed = uncovered(stage, others, {**HARMLESS, **HARMLESS_TO[stage]})
    module = path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__")
    assert any(text.startswith(f"{module.replace('/', '.')}, imported by ") for text in missed)


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_called_harmless_that_a_stage_does_not_load(stage: str) -> None:
    for name in HARMLESS_TO[stage]:
        others = {**HARMLESS, **HARMLESS_TO[stage]}.keys() - {name}
        assert uncovered(stage, code_of(stage), others), name


def test_nothing_is_called_harmless_that_no_stage_loads() -> None:
    loaded = {name for stage in STAGES for name in loaded_by(stage)}
    assert HARMLESS.keys() <= loaded


def test_the_fingerprint_is_of_the_code_that_the_training_depends_on() -> None:
    assert [f"src/chromaflow/{name}" for name in CODE] == code_of("train")
