"""Write `params.yaml`: every setting that applies, with its unit and meaning."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings.base import Group, kinds_of
from chromaflow.settings.groups import Settings
from chromaflow.settings.quantities import parse_duration, parse_size
from chromaflow.settings.yaml.parsing import Dumper

_HEAD = """\
# The settings of this checkout, those that apply. Edit the values; the comments are rewritten
# whenever `chromaflow retrain` is given a preset or --set, and by `chromaflow settings --write`.
"""


def _scalar(value: Any) -> str:
    plain = r"[A-Za-z][\w./ -]*\w|[\d.]+(s|B|KiB|MiB|GiB)"
    if isinstance(value, str) and not re.fullmatch(plain, value, re.ASCII):
        return yaml.safe_dump(value, default_style='"', width=math.inf).strip()
    text = yaml.dump(value, Dumper=Dumper, default_flow_style=True, width=math.inf)
    return text.removesuffix("\n...\n").strip()


def to_plain(group: Group) -> dict[str, Any]:
    """The settings of a group as files hold them: groups in groups, numbers with their units.

    What is None is left out, as nothing there was chosen.
    """
    found = {}
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, Group):
            found[name] = to_plain(value)
        elif value is not None:
            found[name] = _with_unit(value, field.metadata)
    return found


def flatten(group: Group) -> dict[str, Any]:
    """The settings of a group by their full names, such as `training.steps`, as files hold them."""
    return dict(_flatten(to_plain(group), group, ""))


def _flatten(values: dict[str, Any], group: Group, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        inner = getattr(group, name)
        if isinstance(inner, Group):
            yield from _flatten(value, inner, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def render(settings: Settings) -> str:
    """The text of a `params.yaml` that holds every setting that applies, with what it means."""
    lines = [_HEAD]
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Group):
            lines += [f"# {(type(value).__doc__ or '').strip()}", f"{name}:"]
            lines += [*_lines(value, field, "  "), ""]
        else:
            lines += [f"{name}: {_scalar(value)}  # {field.description}", ""]
    return "\n".join(lines[:-1]) + "\n"


def _lines(group: Group, place: FieldInfo, indent: str) -> Iterator[str]:
    """The settings of a group that stands in a field, a line each."""
    kinds, values = kinds_of(place.annotation), to_plain(group)
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, Group):
            yield f"{indent}{name}:  # {field.description}"
            yield from _lines(value, field, indent + "  ")
        elif value is not None:
            meaning = ", ".join(sorted(kinds)) if kinds and name == "name" else field.description
            yield f"{indent}{name}: {_scalar(values[name])}  # {meaning}"


def _with_unit(value: Any, metadata: Sequence[Any]) -> Any:
    parsers = {item.func for item in metadata if isinstance(item, BeforeValidator)}
    if parse_duration in parsers:
        return f"{value:f}".rstrip("0").rstrip(".") + "s"
    if parse_size in parsers:
        for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if value % factor == 0:
                return f"{value // factor}{unit}"
        return f"{value}B"
    return value


def changed(old: Settings, new: Settings) -> list[tuple[str, Any, Any]]:
    """Names, old and new values of the settings that differ; None where there is none.

    In the order of `params.yaml`; those that no longer apply come last.
    """
    before, after = flatten(old), flatten(new)
    names = [*after, *(name for name in before if name not in after)]
    pairs = ((name, before.get(name), after.get(name)) for name in names)
    return [(name, one, other) for name, one, other in pairs if one != other]


def save(project: Project, settings: Settings) -> None:
    """Write `params.yaml`, atomically, so that DVC and the next command see these settings."""
    files.write_text(project.params, render(settings))
