"""Draw valid settings: any kind of each setting that has kinds, and values of the right type."""

from typing import Any

from hypothesis import strategies as st
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from chromaflow.settings import Settings, Training
from chromaflow.settings.base import Group, groups_of, kinds_of
from chromaflow.settings.losses import LossSettings, WeightedLoss
from chromaflow.settings.quantities import parse_duration

TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=8)


def _limits(field: FieldInfo, kind: type[int] | type[float]) -> dict[str, Any]:
    """The range of a number, narrow where the setting has none."""
    found: dict[str, Any] = {"min_value": kind(0), "max_value": kind(1000)}
    for item in field.metadata:
        for name in ("ge", "gt"):
            if (low := getattr(item, name, None)) is not None:
                found["min_value"] = kind(low) + (1 if name == "gt" and kind is int else 0)
                found["max_value"] = max(found["max_value"], found["min_value"])
                found |= {"exclude_min": True} if name == "gt" and kind is float else {}
        for name in ("le", "lt"):
            if (high := getattr(item, name, None)) is not None:
                found["max_value"] = kind(high) - (1 if name == "lt" and kind is int else 0)
                found |= {"exclude_max": True} if name == "lt" and kind is float else {}
    return found


def _values(field: FieldInfo) -> st.SearchStrategy[Any] | None:
    """Values of a setting, as files hold them; None leaves it at its default."""
    parsers = [item.func for item in field.metadata if isinstance(item, BeforeValidator)]
    if parsers:
        return st.integers(1, 999).map("{}s".format) if parse_duration in parsers else None
    if field.annotation is int:
        return st.integers(**_limits(field, int))
    if field.annotation is float:
        return st.floats(**_limits(field, float))
    drawn: dict[object, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        str: TEXTS,
        list[str]: st.lists(TEXTS, max_size=3),
    }
    limited = field.annotation is str and field.metadata
    return None if limited else drawn.get(field.annotation)


def of_group(group: type[Group], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of a group: those given, and each other setting drawn or left out."""
    drawn = {
        name: strategy
        for name, field in group.model_fields.items()
        if name not in given and (strategy := _of_field(field)) is not None
    }
    needed = {name for name in drawn if group.model_fields[name].is_required()}
    return st.fixed_dictionaries(
        {**given, **{name: drawn[name] for name in needed}},
        optional={name: drawn[name] for name in drawn.keys() - needed},
    )


def _of_field(field: FieldInfo) -> st.SearchStrategy[Any] | None:
    if kinds := kinds_of(field.annotation):
        return st.one_of(*(of_group(kind, name=st.just(name)) for name, kind in kinds.items()))
    inner = groups_of(field.annotation)
    return of_group(inner[0]) if inner else _values(field)


def any_settings() -> st.SearchStrategy[Settings]:
    """Valid settings; what rules over several settings could refuse keeps to what they allow."""
    nothing: st.SearchStrategy[None] = st.none()
    default: st.SearchStrategy[dict[str, Any]] = st.just({})
    losses = of_group(
        LossSettings,
        l1=of_group(WeightedLoss),
        **dict.fromkeys(("cross_entropy", "kl", "scene", "suggestions"), nothing),
    )
    groups = of_group(
        Settings,
        training=of_group(Training, losses=losses),
        **dict.fromkeys(("split", "servers", "tracking", "lineage"), default),
    )
    return groups.map(Settings.model_validate)
