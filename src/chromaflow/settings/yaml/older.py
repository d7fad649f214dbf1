"""Read what an older chromaflow wrote: settings that moved, and settings of kinds not chosen.

There a group held the settings of all kinds side by side, and those of others than the chosen one
were passed over. A file may still be so; the command line may not.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chromaflow.settings.base import choices_in, fields_at, group_at, kinds_of, of_others
from chromaflow.settings.groups import Settings

_OF_NETWORKS = ("width", "depth", "backbone", "weights")
_OF_CODEBOOKS = (
    *("neighbors", "sigma", "temperature", "bins", "hue_weight", "fading", "neurons"),
    *("ab_range", "bounded"),
)
NEW_NAMES = {
    **{f"model.{name}": f"model.network.{name}" for name in _OF_NETWORKS},
    **{f"model.{name}": f"model.codebook.{name}" for name in _OF_CODEBOOKS},
    "training.rebalance": "model.codebook.rebalance",
    "training.huber_threshold": "training.losses.huber.threshold",
    "training.perceptual_backbone": "training.losses.perceptual.backbone",
    "training.perceptual_weights": "training.losses.perceptual.backbone_weights",
    "training.discriminator_width": "training.losses.adversarial.discriminator_width",
    "training.discriminator_rate": "training.losses.adversarial.discriminator_rate",
}
"""What a setting of old is called now."""

_SHOWN = 3


@dataclass
class Changes:
    """What was changed to read a file.

    Args:
        moved: New names of settings by their old ones.
        ignored: Settings of kinds that the file does not choose.
    """

    moved: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.moved or self.ignored)

    def __str__(self) -> str:
        parts = []
        if self.moved:
            pairs = [f"{new} was {old}" for old, new in self.moved.items()]
            parts.append(f"settings have new names ({_some(pairs)})")
        if self.ignored:
            parts.append(f"settings that do not apply are ignored ({_some(self.ignored)})")
        return ", and ".join(parts)


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def modernize(values: Mapping[str, Any]) -> tuple[dict[str, Any], Changes]:
    """The values of a file as they are written now, and what had to be changed.

    Args:
        values: Groups of settings by name, as read from YAML; left as they are.
    """
    found, changes = copy.deepcopy(dict(values)), Changes()
    for old, new in NEW_NAMES.items():
        _move(found, old, new, changes)
    for path in choices_in(Settings):
        _leave_out_others(found, path, changes)
    return found, changes


def _move(values: dict[str, Any], old: str, new: str, changes: Changes) -> None:
    group, key = old.split(".")
    if not isinstance(values.get(group), dict) or key not in values[group]:
        return
    value = values[group].pop(key)
    *way, name = new.split(".")
    kinds = kinds_of(fields_at(Settings, way)[0].annotation)
    if kinds or way[-1] in _peek(values, way[:-1]):
        group_at(Settings, values, way).setdefault(name, value)
        changes.moved[old] = new
    else:
        changes.ignored.append(old)


def _peek(values: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The mapping of an inner group, empty where there is none."""
    inner: Any = values
    for name in path:
        inner = inner.get(name) if isinstance(inner, dict) else None
    return inner if isinstance(inner, dict) else {}


def _leave_out_others(values: dict[str, Any], path: Sequence[str], changes: Changes) -> None:
    """Leave out what only kinds have that are not chosen."""
    place, known = _peek(values, path), fields_at(Settings, path)[0]
    chosen = place.get("name", known.default.name)
    old_names = {new: old for old, new in changes.moved.items()}
    for name in of_others(str(chosen), kinds_of(known.annotation), list(place)):
        del place[name]
        new = ".".join((*path, name))
        changes.ignored.append(old_names.get(new, new))
        changes.moved.pop(old_names.get(new, ""), None)
