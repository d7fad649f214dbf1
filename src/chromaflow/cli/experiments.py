"""Commands that try recipes beside the main job; heavy imports wait until one runs."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from chromaflow import settings
from chromaflow.cli.options import JsonOption, PresetOption, SetOption, load, print_result
from chromaflow.errors import SettingsError
from chromaflow.project import files
from chromaflow.project.paths import Project

RecipeArgument = Annotated[
    str, typer.Argument(help="A recipe of configs/recipes; chromaflow settings --recipes.")
]


def sanity(
    recipe: RecipeArgument,
    minutes: Annotated[float, typer.Option(help="At most; it ends when it has learned.")] = 3.0,
    side: Annotated[
        int | None,
        typer.Option(
            help="Of the photographs, pixels; if not given, 64, less where a patch decides."
        ),
    ] = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Overfit eight photographs: can this recipe learn at all, and if not, what is stuck?

    It must come within 1 dB of what its codebook and the size of its output can represent. The
    pictures lie in reports/sanity: grey, as it learned them, as they can be represented, true.
    """
    project, values = load("", set_, recipe)
    from chromaflow.experiments.sanity import picture
    from chromaflow.experiments.sanity import sanity as run

    # It trains in a checkout of its own.
    values = settings.with_absolute_weights(project, values)
    result, pictures = run(values, side=side, minutes=minutes)
    place = project.sanity_pictures / f"{recipe}.png"
    with files.atomic_file(place) as file:
        picture(pictures).save(file, "png")
    line = (
        f"{recipe}: {result.reached:.1f} dB of {result.best:.1f} dB that can be represented, grey "
        f"{result.grey:.1f} dB, after {result.steps} steps in {result.seconds:.0f} s: {place}"
    )
    print_result(dataclasses.asdict(result), json, line)
    if not result.passed:
        print(f"{recipe} is stuck: {result.stuck}.", file=sys.stderr)
        raise typer.Exit(1)


def find_lr(
    recipe: RecipeArgument,
    low: Annotated[float, typer.Option(help="First learning rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="Last learning rate.")] = 1.0,
    steps: Annotated[int, typer.Option(help="From the first to the last.")] = 100,
    preset: PresetOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Draw the loss while the learning rate rises, on the Lab shards; suggest a rate.

    The curve lies in reports/find-lr. The suggestion is where the loss falls most steeply; a peak
    of a one-cycle schedule may be somewhat above it.
    """
    project, values = load(preset, set_, recipe)
    from chromaflow.experiments.find_lr import find_lr as run
    from chromaflow.experiments.find_lr import write_curve

    curve = run(project, values, low=low, high=high, steps=steps)
    place = write_curve(project.rate_curves, recipe, curve)
    line = f"{recipe}: the loss falls most steeply at {curve.suggested:.2g}: {place}"
    print_result({"suggested": curve.suggested, "curve": str(place)}, json, line)


def sweep(
    recipe: RecipeArgument,
    search: Annotated[
        list[str],
        typer.Option(
            metavar="GROUP.NAME=RANGE",
            help="What to try: low..high, or values with commas; may be repeated.",
        ),
    ],
    trials: Annotated[
        int, typer.Option(help="To end with, earlier ones of this name counted.")
    ] = 20,
    name: Annotated[str, typer.Option(help="Of the sweep; empty: the recipe's.")] = "",
    metric: Annotated[
        str, typer.Option(help="validation_loss or validation_ab_error; the lower the better.")
    ] = "validation_loss",
    preset: PresetOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Try settings with Optuna on the Lab shards; each trial is a nested MLflow run.

    Trials that fall behind are ended early. Killed, the same command goes on.
    """
    project, _ = load(preset, set_, recipe)
    from chromaflow.experiments.sweep import METRICS, Axis
    from chromaflow.experiments.sweep import sweep as run

    if metric not in METRICS:
        raise SettingsError(f"--metric {metric} is not known; there is {' and '.join(METRICS)}.")

    def configure(overrides: Sequence[str]) -> settings.Settings:
        return settings.load(project, preset, [*(set_ or ()), *overrides], recipe)

    axes = [Axis.parse(text) for text in search]
    found = run(project, configure, axes, name=name or recipe, trials=trials, metric=metric)
    rows = [{"value": trial.value, **trial.params} for trial in found]
    lines = [
        f"{row['value']:.4f}  " + "  ".join(f"{k}={v}" for k, v in row.items() if k != "value")
        for row in rows[:10]
    ]
    print_result(rows, json, "\n".join([f"{metric}, the best first:", *lines]))


def compare(
    recipes: Annotated[list[str], typer.Argument(help="Recipes of configs/recipes.")],
    budget: Annotated[
        str, typer.Option(help="Of training for each: CPU time over its threads.")
    ] = "5min",
    photograph: Annotated[
        list[Path] | None,
        typer.Option(help="A photograph of yours that each colors too; may be repeated."),
    ] = None,
    preset: PresetOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train several recipes on the Lab shards under one budget; write a table and pictures.

    Each becomes an MLflow run and a version in the registry; none is promoted. The page, the table
    and strips of held-out photographs, and of yours, lie in reports/compare. Killed, the same
    command goes on where it was.
    """
    from chromaflow.settings.quantities import parse_duration

    try:
        seconds = parse_duration(budget)
    except ValueError as error:
        raise SettingsError(f"--budget {budget}: {error}", "--budget 5min") from None
    project = Project.find()
    chosen = {recipe: settings.load(project, preset, set_ or (), recipe) for recipe in recipes}
    from chromaflow.experiments.comparison import compare as run
    from chromaflow.experiments.comparison_page import as_markdown, table, write_comparison
    from chromaflow.experiments.strips import read_lightness

    own = [read_lightness(path) for path in photograph or ()]
    rows = run(project, chosen, budget=float(str(seconds)))
    page = write_comparison(project, rows, own)
    found = [dataclasses.asdict(row) for row in rows]
    print_result(found, json, f"{as_markdown(table(rows))}{page}")


COMMANDS = (sanity, find_lr, sweep, compare)
