"""Read settings from `params.yaml`, presets and `--set`, and report what is wrong by name."""

import difflib
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from chromaflow.errors import ChromaflowWarning, SettingsError
from chromaflow.project.paths import Project
from chromaflow.settings.groups import Settings
from chromaflow.settings.yaml.explaining import explain
from chromaflow.settings.yaml.older import Changes, modernize
from chromaflow.settings.yaml.overriding import override, parse
from chromaflow.settings.yaml.parsing import Loader
from chromaflow.settings.yaml.writing import to_plain

LAPTOP = "-laptop"


def _without_secrets(text: str) -> str:
    """A text whose addresses have lost what may be a password or a key."""
    return re.sub(r"(://)[^/@\s]*@|(://[^?#\s]*)[?#][^\s'\"]*", r"\1\2", text)


def _build(values: Mapping[str, Any], origin: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = "\n  ".join(explain(error))
        problem = _without_secrets(f"{origin}:\n  {lines}")
        raise SettingsError(problem, "chromaflow settings shows them all") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    remedy = f"git diff {path.name} shows what changed; chromaflow settings shows every setting"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 (it is safe)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.", remedy) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {error}", remedy) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise SettingsError(f"{path} must hold settings by name, not a {kind}.", remedy)
    # A group without a setting keeps its defaults.
    return {key: {} if value is None else value for key, value in values.items()}


def preset_names(project: Project) -> list[str]:
    """Names of the presets in `configs/`."""
    return sorted(path.stem for path in project.configs.glob("*.yaml"))


def recipe_names(project: Project) -> list[str]:
    """Names of the recipes in `configs/recipes/`, each as published and for a laptop."""
    stems = [path.stem for path in project.recipes.glob("*.yaml")]
    return sorted([*stems, *(stem + LAPTOP for stem in stems)])


def _check_name(kind: str, name: str, names: list[str], folder: Path) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise SettingsError(
            f"unknown {kind} {name}; did you mean {', '.join(near)}?", f"ls {folder}"
        )


def _tell_changes(origin: str, changes: Changes, remedy: str) -> None:
    if changes:
        warnings.warn(f"{origin}: {changes}; {remedy}", ChromaflowWarning, stacklevel=2)


def _read_recipe(project: Project, name: str) -> dict[str, Any]:
    """Groups `model` and `training` of a recipe."""
    _check_name("recipe", name, recipe_names(project), project.recipes)
    path = project.recipes / f"{name.removesuffix(LAPTOP)}.yaml"
    values = _read_yaml(path)
    laptop = values.pop("laptop", {})
    for part in (values, laptop):
        unknown = part.keys() - {"model", "training"} if isinstance(part, dict) else {"laptop"}
        if unknown:
            raise SettingsError(
                f"{path}: a recipe sets model and training, and both again under laptop, "
                f"but here is {', '.join(sorted(unknown))}."
            )
    _build(modernize(values)[0], str(path))
    groups = {"model": {}, "training": {}, **values}
    if name.endswith(LAPTOP):
        groups = override(groups, (((group,), laptop[group]) for group in laptop))
    groups, changes = modernize(groups)
    _tell_changes(
        str(path), changes, f"chromaflow settings --recipe {name} shows how they are written now"
    )
    return groups


def load(
    project: Project, preset: str = "", overrides: Sequence[str] = (), recipe: str = ""
) -> Settings:
    """Settings of `params.yaml`, or of a preset over the defaults; the recipe; the overrides.

    A file may be as an older chromaflow wrote it, or hold settings of kinds that it does not
    choose: a `ChromaflowWarning` says so in one line.

    Args:
        project: The checkout.
        preset: Name of a file in `configs/`; it starts from the defaults, not from `params.yaml`.
        overrides: Texts `group.name=value`, the value in YAML.
        recipe: Name of a file in `configs/recipes/`; its groups `model` and `training` start from
            the defaults. With `-laptop` at its end, what the file sets under `laptop` goes over it.

    Raises:
        SettingsError: A file, preset, recipe, key, value or unit that is not known, by name; a
            setting that the chosen source, network, codebook or loss does not have.
    """
    path, remedy = project.params, "chromaflow settings --write rewrites it"
    if preset:
        path = project.configs / f"{preset}.yaml"
        remedy = f"chromaflow settings --preset {preset} shows how they are written now"
        _check_name("preset", preset, preset_names(project), project.configs)
    origin = str(path.relative_to(project.root)) if path.is_relative_to(project.root) else str(path)
    values, changes = modernize(_read_yaml(path))
    settings = _build(values, origin)
    _tell_changes(origin, changes, remedy)
    if recipe:
        groups = _read_recipe(project, recipe)
        settings = _build(to_plain(settings) | groups, f"recipe {recipe}")
    if overrides:
        values = override(to_plain(settings), map(parse, overrides))
        settings = _build(values, " ".join(f"--set {text}" for text in overrides))
    return settings
