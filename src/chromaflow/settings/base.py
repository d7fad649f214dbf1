"""The base class of groups of settings, and settings that take one of several kinds of group."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.fields import FieldInfo


class Group(BaseModel):
    """Settings that belong together; unknown keys and wrong types are refused.

    Attributes:
        short: The field that a bare value sets when it is given for the group; empty: none.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), strict=True, allow_inf_nan=False
    )
    short: ClassVar[str] = ""


class Kind(Group):
    """One of several groups that a setting may be, each with fields of its own.

    Its `name` is the literal name or names by which a file chooses it: `codebook: {name: som}`, or
    `codebook: som` alone.
    """

    short: ClassVar[str] = "name"

    name: str


def one_of(default: str) -> BeforeValidator:
    """Let a union of kinds, discriminated by `name`, also accept a name alone.

    Args:
        default: The kind where no name is given.
    """

    def expand(value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        return {"name": default, **value} if isinstance(value, Mapping) else value

    return BeforeValidator(expand)


def groups_of(annotation: Any) -> list[type[Group]]:
    """The groups that a field of this annotation may hold: none, one, or those of a union."""
    members = get_args(annotation) or (annotation,)
    return [kind for kind in members if isinstance(kind, type) and issubclass(kind, Group)]


def kinds_of(annotation: Any) -> dict[str, type[Kind]]:
    """The kinds that a field of this annotation may be, by name; empty if it has no kinds."""
    return {
        name: kind
        for kind in groups_of(annotation)
        if issubclass(kind, Kind)
        for name in get_args(kind.model_fields["name"].annotation)
    }


def fields_at(group: type[Group], path: Sequence[str]) -> list[FieldInfo]:
    """What may stand at a path of names below a group: one field for each kind that has it."""
    groups, found = [group], list[FieldInfo]()
    for name in path:
        found = [kind.model_fields[name] for kind in groups if name in kind.model_fields]
        groups = [kind for field in found for kind in groups_of(field.annotation)]
    return found


def choices_in(group: type[Group], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths, below a group, of what is one of several kinds."""
    for name, field in group.model_fields.items():
        if kinds_of(field.annotation):
            yield (*path, name)
        else:
            for inner in groups_of(field.annotation):
                yield from choices_in(inner, (*path, name))


def of_others(chosen: str, kinds: Mapping[str, type[Kind]], names: Iterable[str]) -> list[str]:
    """Those of some names of settings that other kinds have, and the chosen one has not."""
    if chosen not in kinds:
        return []
    others = {name for kind in kinds.values() for name in kind.model_fields}
    return [name for name in names if name in others - kinds[chosen].model_fields.keys()]


def group_at(group: type[Group], values: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The mapping of an inner group in values as files hold them, made where there is none.

    Args:
        group: That of the values.
        values: Groups in groups; a bare value on the way becomes the setting that it is short for.
        path: The names down to the inner group.
    """
    for depth, name in enumerate(path, 1):
        inner = values.get(name)
        if not isinstance(inner, dict):
            groups = [g for f in fields_at(group, path[:depth]) for g in groups_of(f.annotation)]
            short = groups[0].short if groups else ""
            values[name] = {short: inner} if short and inner is not None else {}
        values = values[name]
    return values
