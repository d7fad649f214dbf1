"""Write `params.yaml`: every setting with its unit and what it means."""

import math
import re
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import BeforeValidator

from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.settings.base import Group
from chromaflow.settings.groups import Settings
from chromaflow.settings.quantities import parse_duration, parse_size
from chromaflow.settings.yaml_io import Dumper


def _scalar(value: Any) -> str:
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z][\w./ -]*\w", value, re.ASCII):
        return yaml.safe_dump(value, default_style='"', width=math.inf).strip()
    text = yaml.dump(value, Dumper=Dumper, default_flow_style=True, width=math.inf)
    return text.removesuffix("\n...\n").strip()


def render(settings: Settings) -> str:
    """The text of a `params.yaml` that holds every setting with what it means."""
    lines = [
        "# Every setting of this checkout. Edit the values; the comments are written anew whenever",
        "# `chromaflow retrain` is given a preset or --set.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if not isinstance(value, Group):
            lines += [f"{name}: {_scalar(value)}  # {field.description}", ""]
            continue
        lines += [f"# {(type(value).__doc__ or '').strip()}", f"{name}:"]
        for key, inner in type(value).model_fields.items():
            text = _write_value(getattr(value, key), inner.metadata)
            lines.append(f"  {key}: {text}  # {inner.description}")
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _write_value(value: Any, metadata: Sequence[Any]) -> str:
    parsers = {item.func for item in metadata if isinstance(item, BeforeValidator)}
    if parse_duration in parsers:
        return f"{value:f}".rstrip("0").rstrip(".") + "s"
    if parse_size in parsers:
        for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if value % factor == 0:
                return f"{value // factor}{unit}"
        return f"{value}B"
    return _scalar(value)


def changed(old: Settings, new: Settings) -> list[tuple[str, Any, Any]]:
    """Names, old and new values of the settings that differ, in the order of `params.yaml`."""
    rows: list[tuple[str, Any, Any]] = []
    for name in Settings.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if not isinstance(before, Group):
            rows += [(name, before, after)] if before != after else []
            continue
        for key in type(before).model_fields:
            pair = getattr(before, key), getattr(after, key)
            rows += [(f"{name}.{key}", *pair)] if pair[0] != pair[1] else []
    return rows


def save(project: Project, settings: Settings) -> None:
    """Write `params.yaml`, atomically, so that DVC and the next command see these settings."""
    files.write_text(project.params, render(settings))
