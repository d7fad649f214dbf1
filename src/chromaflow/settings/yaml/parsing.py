"""YAML for settings: duplicate keys are refused, and 1e-3 is a number as 1.0e-3 is."""

import re
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, checked.

        Raises:
            ConstructorError: A key stands there twice.
        """
        mapping = super().construct_mapping(node, deep)
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return mapping


class Dumper(yaml.SafeDumper):
    """Quotes a text that `Loader` would take for a number."""


for _kind in (Loader, Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("+-0123456789"),
    )
