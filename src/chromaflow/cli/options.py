"""Options that several commands share, and what they read."""

import json as json_module
from typing import Annotated, Any

import typer

from chromaflow import settings
from chromaflow.errors import UserError
from chromaflow.project.paths import Project


def _complete_preset(incomplete: str) -> list[str]:
    try:
        names = settings.preset_names(Project.find())
    except UserError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def _complete_recipe(incomplete: str) -> list[str]:
    try:
        names = settings.recipe_names(Project.find())
    except UserError:
        return []
    return [name for name in names if name.startswith(incomplete)]


PresetOption = Annotated[
    str,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="Settings of configs/NAME.yaml instead of params.yaml.",
        autocompletion=_complete_preset,
    ),
]
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Model and training settings of configs/recipes/NAME.yaml, a published system; "
        "NAME-laptop is small enough to train on two CPU cores.",
        autocompletion=_complete_recipe,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="GROUP.NAME=VALUE", help="Override one setting; may be repeated."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def load(
    preset: str, overrides: list[str] | None, recipe: str = ""
) -> tuple[Project, settings.Settings]:
    """The checkout that holds the current folder, and its settings.

    Raises:
        UserError: There is no checkout here, or a setting is unknown.
    """
    project = Project.find()
    return project, settings.load(project, preset, overrides or (), recipe)


def print_result(result: Any, as_json: bool, line: str) -> None:
    """Print a result as JSON, or the line that summarizes it."""
    print(json_module.dumps(result, indent=2, default=str) if as_json else line)
