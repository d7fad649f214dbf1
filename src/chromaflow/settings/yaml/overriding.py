"""Change single settings by their names: what `--set` gives, and the laptop part of a recipe."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from chromaflow.errors import SettingsError
from chromaflow.settings.base import fields_at, group_at, groups_of, kinds_of, of_others
from chromaflow.settings.groups import Settings
from chromaflow.settings.yaml.parsing import Loader

Names = tuple[str, ...]
Change = tuple[Names, Any]
"""The names down to a setting, and its value in YAML's types."""


def parse(text: str) -> Change:
    """Read `group.name=value`, the value in YAML.

    Raises:
        SettingsError: It is not written so.
    """
    name, equals, value = text.partition("=")
    path = tuple(name.strip().split("."))
    if not equals or not all(path):
        raise SettingsError(
            f"--set {text}: write it as group.name=value", "--set training.steps=500"
        )
    try:
        parsed: Any = yaml.load(value, Loader)  # noqa: S506 (it is safe)
    except yaml.YAMLError:
        parsed = value
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if not quoted and any(field.annotation is str for field in fields_at(Settings, path)):
        # A path may hold what YAML takes for a comment or a number.
        parsed = value
    return path, parsed


def override(values: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """Values with some settings changed.

    Of a group, what is not named stays; every other setting is replaced whole. The kinds come
    first, in whatever order they are named: a former kind's settings that the new one does not have
    are forgotten, so that what is left of others was asked for by name.

    Args:
        values: As files hold them; left as they are.
        changes: A later one counts.
    """
    found = copy.deepcopy(dict(values))
    single = [each for change in changes for each in _spread(*change)]
    for path, value in single:
        if _chooses(path):
            _choose(found, path[:-1], value)
    for path, value in single:
        if not _chooses(path):
            *way, name = path
            group_at(Settings, found, way)[name] = value
    return found


def _chooses(path: Names) -> bool:
    """Whether a setting is the name of a kind."""
    groups = fields_at(Settings, path[:-1])
    return path[-1] == "name" and any(kinds_of(field.annotation) for field in groups)


def _spread(path: Names, value: Any) -> Iterator[Change]:
    """A change of a group as changes of its settings; a bare value is the one it is short for."""
    known = fields_at(Settings, path)
    groups = [group for field in known for group in groups_of(field.annotation)]
    whole = len(path) > 1 and not any(kinds_of(field.annotation) for field in known)
    if isinstance(value, dict) and groups and not whole:
        for name, inner in value.items():
            yield from _spread((*path, str(name)), inner)
    elif groups and groups[0].short and not isinstance(value, dict) and value is not None:
        yield (*path, groups[0].short), value
    else:
        yield path, value


def _choose(values: dict[str, Any], path: Names, name: Any) -> None:
    """Set a kind, and forget what it does not have of the former one's settings."""
    place = group_at(Settings, values, path)
    kinds = kinds_of(fields_at(Settings, path)[0].annotation)
    for other in of_others(str(name), kinds, list(place)):
        del place[other]
    place["name"] = name
