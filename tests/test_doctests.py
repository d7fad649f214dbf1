"""The examples in the docstrings of color and metrics: they run, and nothing public lacks one.

They take `torch` and `np` for granted, and what their own module holds.
"""

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import numpy as np
import pytest
import torch

import chromaflow.color
import chromaflow.metrics

MODULES = [
    found.name
    for package in (chromaflow.color, chromaflow.metrics)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not found.ispkg
]


def public(module: ModuleType) -> dict[str, object]:
    """Functions and classes that a module defines for others."""
    return {
        name: found
        for name, found in vars(module).items()
        if (inspect.isfunction(found) or inspect.isclass(found))
        and found.__module__ == module.__name__
        and not name.startswith("_")
    }


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str) -> None:
    module, told = importlib.import_module(name), list[str]()
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(verbose=False)
    for test in finder.find(module, extraglobs={"torch": torch, "np": np}):
        runner.run(test, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_an_example(name: str) -> None:
    found = public(importlib.import_module(name))
    assert found
    assert [n for n, thing in found.items() if ">>> " not in (inspect.getdoc(thing) or "")] == []
