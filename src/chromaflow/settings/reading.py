"""Read settings from `params.yaml`, presets and `--set`, and tell what is wrong by name."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from chromaflow.errors import SettingsError
from chromaflow.project.paths import Project
from chromaflow.settings.groups import Settings
from chromaflow.settings.yaml_io import Loader

LAPTOP = "-laptop"


def _known_keys(location: Sequence[str | int]) -> list[str]:
    group: Any = Settings
    for name in location:
        group = group.model_fields[str(name)].annotation
    return list(group.model_fields)


def _near_choices(error: Mapping[str, Any]) -> str:
    choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
    near = difflib.get_close_matches(error["input"], choices, n=3, cutoff=0.4)
    return ", ".join(near or choices)


def _describe(error: Mapping[str, Any]) -> str:
    location = list(error["loc"])
    if location[-1:] == ["[key]"]:
        # What pydantic says of a name in a mapping; `input` is the name.
        location = location[:-2]
    name = ".".join(str(part) for part in location)
    if error["type"] == "extra_forbidden":
        keys = _known_keys(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), keys, n=3, cutoff=0.5) or keys
        prefix = "".join(f"{part}." for part in location[:-1])
        return f"unknown setting {name}; did you mean {', '.join(prefix + key for key in near)}?"
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        return f"{name} = {error['input']!r} is not known; did you mean {_near_choices(error)}?"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "model_type":
        return f"{name} = {error['input']!r}: it is a group, and takes settings by name"
    # A rule about several settings names them itself.
    return (
        message if isinstance(error["input"], dict) else f"{name} = {error['input']!r}: {message}"
    )


def _without_secrets(text: str) -> str:
    """A text whose addresses have lost what may be a password or a key."""
    return re.sub(r"(://)[^/@\s]*@|(://[^?#\s]*)[?#][^\s'\"]*", r"\1\2", text)


def _build(values: Mapping[str, Any], origin: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = "\n  ".join(_describe(item) for item in error.errors())
        problem = _without_secrets(f"{origin}:\n  {lines}")
        raise SettingsError(problem, "chromaflow settings shows them all") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    mend = f"git diff {path.name} shows what changed; chromaflow settings shows every setting"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 (it is safe)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.", mend) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {error}", mend) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise SettingsError(f"{path} must hold settings by name, not a {kind}.", mend)
    # A group without a setting keeps its defaults.
    return {key: {} if value is None else value for key, value in values.items()}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Groups setting by setting; a setting that holds several values is replaced whole."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        groups = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = {**old, **value} if groups else value  # type: ignore[dict-item]
    return merged


def _is_text(name: str) -> bool:
    group, _, key = name.partition(".")
    fields: Mapping[str, Any] = Settings.model_fields
    if key and group in fields:
        fields = fields[group].annotation.model_fields
    field = fields.get(key or group)
    return field is not None and field.annotation is str


def _parse_override(text: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(
            f"--set {text}: write it as group.name=value", "--set training.steps=500"
        )
    try:
        parsed: Any = yaml.load(value, Loader)  # noqa: S506 (it is safe)
    except yaml.YAMLError:
        parsed = value
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if _is_text(name.strip()) and not quoted:
        # A path may hold what YAML takes for a comment or a number.
        parsed = value
    for part in reversed(name.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


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
    _build(values, str(path))
    groups = {"model": {}, "training": {}, **values}
    return _merge(groups, laptop) if name.endswith(LAPTOP) else groups


def load(
    project: Project, preset: str = "", overrides: Sequence[str] = (), recipe: str = ""
) -> Settings:
    """Settings of `params.yaml`, or of a preset over the defaults; the recipe; the overrides.

    Args:
        project: The checkout.
        preset: Name of a file in `configs/`; it starts from the defaults, not from `params.yaml`.
        overrides: Texts `group.name=value`, the value in YAML.
        recipe: Name of a file in `configs/recipes/`; its groups `model` and `training` start from
            the defaults. With `-laptop` at its end, what the file sets under `laptop` goes over it.

    Raises:
        SettingsError: A file, preset, recipe, key, value or unit that is not known, by name.
    """
    path = project.params
    if preset:
        path = project.configs / f"{preset}.yaml"
        _check_name("preset", preset, preset_names(project), project.configs)
    origin = str(path.relative_to(project.root)) if path.is_relative_to(project.root) else str(path)
    values = _read_yaml(path)
    _build(values, origin)
    if recipe:
        values |= _read_recipe(project, recipe)
        origin = f"recipe {recipe}"
        _build(values, origin)
    for text in overrides:
        values = _merge(values, _parse_override(text))
    return _build(values, " ".join(f"--set {text}" for text in overrides) or origin)
