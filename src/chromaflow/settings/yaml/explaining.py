"""Explain why a setting is refused: its name, the reason, and what to set instead."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from chromaflow.settings.base import Group, groups_of, kinds_of
from chromaflow.settings.groups import Settings
from chromaflow.settings.yaml.older import NEW_NAMES


@dataclass
class _Place:
    """Where a setting stands.

    Args:
        path: The names down to it.
        group: The group that it stands in.
        kind: Which of several kinds that group is; empty where there is one.
        kinds: All of these by name.
        chosen_by: The setting that chooses the kind; empty where none does, as of the losses.
    """

    path: list[str] = field(default_factory=list)
    group: type[Group] = Settings
    kind: str = ""
    kinds: Mapping[str, type[Group]] = field(default_factory=dict)
    chosen_by: str = ""

    @property
    def name(self) -> str:
        return ".".join(self.path)


def explain(error: ValidationError) -> list[str]:
    """Each fault in a line, which names the setting as files and the command line do."""
    return [_describe(fault) for fault in error.errors()]


def _describe(fault: Mapping[str, Any]) -> str:
    place, given = _locate(fault["loc"]), fault["input"]
    context = fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            return _explain_unknown(place)
        case "union_tag_invalid":
            return _explain_choice(f"{place.name}.name", context["tag"], context["expected_tags"])
        case "literal_error" if isinstance(given, str):
            return _explain_choice(place.name, given, context["expected"])
        case "missing":
            return f"{'.'.join(place.path[:-1])} needs {place.path[-1]}: --set {place.name}=1.0"
        case "model_type" | "model_attributes_type":
            return f"{place.name} = {given!r}: it is a group, and takes settings by name"
    message = str(fault["msg"]).removeprefix("Value error, ")
    # A rule about several settings names them itself.
    names_them = fault["type"] == "value_error" and isinstance(given, dict)
    return message if names_them else f"{place.name} = {given!r}: {message}"


def _locate(location: Sequence[str | int]) -> _Place:
    """Where a setting stands; pydantic's own location also holds the kinds that were chosen."""
    place, parts = _Place(), [str(part) for part in location]
    if parts[-1:] == ["[key]"]:
        # A name in a mapping is refused, not its value.
        parts = parts[:-2]
    while parts:
        place.path.append(parts.pop(0))
        known = place.group.model_fields.get(place.path[-1])
        groups = groups_of(known.annotation) if known else []
        if not parts or known is None or not groups:
            continue
        if kinds := kinds_of(known.annotation):
            kind = parts.pop(0)
            place.group, place.kind, place.kinds = kinds[kind], kind, kinds
            place.chosen_by = f"{place.name}.name"
        else:
            place.kinds = _members(place.group) if place.group is not Settings else {}
            place.group, place.kind, place.chosen_by = groups[0], place.path[-1], ""
    return place


def _members(group: type[Group]) -> dict[str, type[Group]]:
    """The groups that stand in one, such as the losses."""
    pairs = ((name, groups_of(field.annotation)) for name, field in group.model_fields.items())
    return {name: groups[0] for name, groups in pairs if groups}


def _explain_unknown(place: _Place) -> str:
    if new := NEW_NAMES.get(place.name):
        return f"{place.name} is called {new} now"
    key = place.path[-1]
    owners = [name for name, kind in place.kinds.items() if key in kind.model_fields]
    if owners:
        kind = f"{place.chosen_by} = {place.kind}" if place.chosen_by else place.kind
        choice = owners[0] if len(owners) == 1 else "one of these"
        change = f"set {place.chosen_by} to {choice}, or " if place.chosen_by else ""
        return (
            f"{place.name} does not apply to {kind}, but to {_and(owners)}; "
            f"{change}leave {place.name} out"
        )
    own = list(place.group.model_fields)
    others = {name for kind in place.kinds.values() for name in kind.model_fields}
    near = difflib.get_close_matches(key, sorted({*own, *others}), n=3, cutoff=0.5) or own
    prefix = "".join(f"{part}." for part in place.path[:-1])
    return f"unknown setting {place.name}; did you mean {', '.join(prefix + n for n in near)}?"


def _explain_choice(name: str, given: str, expected: str) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(given, choices, n=3, cutoff=0.4) or choices
    return f"{name} = {given!r} is not known; did you mean {', '.join(near)}?"


def _and(names: Collection[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
