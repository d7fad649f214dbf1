"""Commands for experiments with recipes; heavy imports wait until one runs."""

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
    str,
    typer.Argument(help="A recipe; chromaflow settings --recipes lists them."),
]


def sanity(
    recipe: RecipeArgument,
    minutes: Annotated[float, typer.Option(help="Time limit; stops early once learned.")] = 3.0,
    side: Annotated[
        int | None,
        typer.Option(
            help="Side of the photographs, pixels; default 64, less for small receptive fields."
        ),
    ] = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Overfit eight photographs: can this recipe learn at all, and if not, what is stuck?

    It must come within 1 dB of the best that its codebook and output size can represent. The
    pictures are written to reports/sanity: grey, learned, best representable, original.
    """
    project, values = load("", set_, recipe)
    from chromaflow.experiments.sanity import picture
    from chromaflow.experiments.sanity import sanity as run

    # It trains in a temporary checkout.
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
    steps: Annotated[int, typer.Option(help="Number of steps from the first to the last.")] = 100,
    preset: PresetOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Plot the loss while the learning rate rises, on the Lab shards; suggest a rate.

    The curve is written to reports/find-lr. The suggestion is where the loss falls most steeply;
    the peak of a one-cycle schedule may be somewhat above it.
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
            help="Range to search: low..high, or comma-separated values; may be repeated.",
        ),
    ],
    trials: Annotated[
        int, typer.Option(help="Total number, including earlier trials of this sweep.")
    ] = 20,
    name: Annotated[str, typer.Option(help="Name of the sweep; default: the recipe's.")] = "",
    metric: Annotated[
        str, typer.Option(help="validation_loss or validation_ab_error; lower is better.")
    ] = "validation_loss",
    preset: PresetOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Try settings with Optuna on the Lab shards; each trial is a nested MLflow run.

    Unpromising trials are pruned. If interrupted, the same command resumes.
    """
    project, _ = load(preset, set_, recipe)
    from chromaflow.experiments.sweep import METRICS, Axis
    from chromaflow.experiments.sweep import sweep as run

    if metric not in METRICS:
        raise SettingsError(f"unknown --metric {metric}; available: {', '.join(METRICS)}.")

    def configure(overrides: Sequence[str]) -> settings.Settings:
        return settings.load(project, preset, [*(set_ or ()), *overrides], recipe)

    axes = [Axis.parse(text) for text in search]
    found = run(project, configure, axes, name=name or recipe, trials=trials, metric=metric)
    rows = [{"value": trial.value, **trial.params} for trial in found]
    lines = [
        f"{row['value']:.4f}  " + "  ".join(f"{k}={v}" for k, v in row.items() if k != "value")
        for row in rows[:10]
    ]
    print_result(rows, json, "\n".join([f"{metric}, best first:", *lines]))


def compare(
    recipes: Annotated[list[str], typer.Argument(help="Recipes of configs/recipes.")],
    budget: Annotated[
        str, typer.Option(help="Training time for each: CPU time divided by its threads.")
    ] = "5min",
    photograph: Annotated[
        list[Path] | None,
        typer.Option(help="A photograph of your own for each to color; may be repeated."),
    ] = None,
    preset: PresetOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train several recipes on the Lab shards with the same budget; write a table and pictures.

    Each becomes an MLflow run and a version in the registry; none is promoted. The page, the table
    and strips of held-out photographs, and of yours, are written to reports/compare. If
    interrupted, the same command resumes.
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
