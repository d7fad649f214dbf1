"""Every command, thin: parse, call, print. Heavy imports wait until a command needs them."""

import json as json_module
import os
import sys
from typing import Annotated

import typer

from chromaflow import __version__, settings
from chromaflow.cli import colorize, experiments, quarantine
from chromaflow.cli.options import (
    JsonOption,
    PresetOption,
    RecipeOption,
    SetOption,
    load,
    print_result,
)
from chromaflow.errors import run_told
from chromaflow.project.paths import Project

app = typer.Typer(
    name="chromaflow",
    help="Retrain, judge, track and promote image colorization models; color grey photographs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

STEPS = "Steps, in their order"
MAIN = "Main"
TRIALS = "Trials of recipes"
SERVICES = "Servers and state"


app.add_typer(quarantine.group, rich_help_panel=MAIN)


@app.command(rich_help_panel=STEPS)
def ingest(preset: PresetOption = "", set_: SetOption = None, json: JsonOption = False) -> None:
    """Make the raw snapshot data/raw from the source and record it in data.dvc."""
    project, values = load(preset, set_)
    from chromaflow.steps.ingest import ingest as step

    result = step(project, values)
    print_result(result.to_json(), json, result.summary())


@app.command(rich_help_panel=STEPS)
def validate(preset: PresetOption = "", set_: SetOption = None, json: JsonOption = False) -> None:
    """Judge the manifest with Great Expectations; write splits and quarantine."""
    project, values = load(preset, set_)
    from chromaflow.steps.validate import validate as step

    result = step(project, values)
    print_result(result.to_json(), json, result.summary())


@app.command(rich_help_panel=STEPS)
def describe(preset: PresetOption = "", set_: SetOption = None, json: JsonOption = False) -> None:
    """Write the data card and the metadata of the accepted snapshot; tell a lineage server."""
    project, values = load(preset, set_)
    from chromaflow.steps.describe import describe as step

    result = step(project, values)
    print_result(result.to_json(), json, result.summary())


@app.command(rich_help_panel=STEPS)
def preprocess(preset: PresetOption = "", set_: SetOption = None, json: JsonOption = False) -> None:
    """Turn the accepted photographs into shards of 8-bit Lab."""
    project, values = load(preset, set_)
    from chromaflow.steps.preprocess import preprocess as step

    result = step(project, values)
    print_result(result.to_json(), json, result.summary())


@app.command(rich_help_panel=STEPS)
def train(
    preset: PresetOption = "",
    recipe: RecipeOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train the network on the Lab shards; goes on from the last checkpoint after a kill."""
    project, values = load(preset, set_, recipe)
    from chromaflow.tracking.tracked_training import train_tracked as step

    result = step(project, values)
    print_result(result, json, f"models/candidate: {result['digest']}, {result['steps']} steps")


@app.command(rich_help_panel=STEPS)
def evaluate(
    preset: PresetOption = "",
    recipe: RecipeOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Measure the candidate on the held-out split, beside grey and mean color."""
    project, values = load(preset, set_, recipe)
    from chromaflow.steps.evaluate import evaluate as step

    result = step(project, values)
    print_result(
        result, json, f"reports/evaluation/metrics.json: {result['images']} held-out images"
    )


@app.command(rich_help_panel=STEPS)
def register(
    preset: PresetOption = "",
    recipe: RecipeOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Give the candidate a version in the registry; the same weights are never two versions."""
    project, values = load(preset, set_, recipe)
    from chromaflow.steps.register import register as step

    result = step(project, values)
    state = "registered" if result.created else "is registered already"
    print_result(result.to_json(), json, f"{result.model} version {result.version} {state}")


@app.command(rich_help_panel=STEPS)
def promote(
    preset: PresetOption = "",
    recipe: RecipeOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Make the candidate the champion if the held-out images say so; tell why or why not."""
    project, values = load(preset, set_, recipe)
    from chromaflow.steps.promote import promote as step

    result = step(project, values)
    print_result(result.to_json(), json, result.reason)


@app.command(rich_help_panel=STEPS)
def report(
    preset: PresetOption = "",
    recipe: RecipeOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write reports/index.html and print its tables."""
    project, values = load(preset, set_, recipe)
    from chromaflow.reporting.run_page import summarize, write_report

    page = write_report(project, values)
    if json:
        print(json_module.dumps({"page": str(page)}))
    else:
        summarize(project, values)


@app.command(rich_help_panel=MAIN)
def retrain(preset: PresetOption = "", recipe: RecipeOption = "", set_: SetOption = None) -> None:
    """Run every step that is not already done, then register, judge, promote and report.

    A preset, recipe or --set is written to params.yaml first: DVC and the next command see it.
    """
    project, values = load(preset, set_, recipe)
    from chromaflow.services.prefect import environment_with_server

    flow = project.root / "flows" / "retrain.py"
    chosen = [f"--preset={preset}", f"--recipe={recipe}"]
    arguments = [*chosen, *(f"--set={text}" for text in set_ or ())]
    environment = environment_with_server(project, values)
    os.execve(sys.executable, [sys.executable, str(flow), *arguments], environment)


app.command(rich_help_panel=MAIN)(colorize.colorize)
app.command(rich_help_panel=MAIN)(colorize.export)

for trial in experiments.COMMANDS:
    app.command(trial.__name__.replace("_", "-"), rich_help_panel=TRIALS)(trial)


@app.command(rich_help_panel=SERVICES)
def up(preset: PresetOption = "", set_: SetOption = None, json: JsonOption = False) -> None:
    """Start local Prefect and MLflow servers in the background, on loopback."""
    from chromaflow.services.local import up as start

    started = start(*load(preset, set_))
    lines = [f"{server['name']:<8}{server['address']}  {server['state']}" for server in started]
    print_result(started, json, "\n".join(lines))


@app.command(rich_help_panel=SERVICES)
def down(json: JsonOption = False) -> None:
    """Stop the servers that `chromaflow up` started; their state is kept."""
    from chromaflow.services.local import down as stop

    stopped = stop(Project.find())
    lines = [f"{server['name']:<8}{server['state']}" for server in stopped]
    print_result(stopped, json, "\n".join(lines) or "no server was running")


@app.command(rich_help_panel=SERVICES)
def status(preset: PresetOption = "", set_: SetOption = None, json: JsonOption = False) -> None:
    """Tell what serves, what is stale, what is unfinished and which servers answer."""
    from chromaflow.services.diagnostics import status as module

    result = module.status(*load(preset, set_))
    if json:
        print(json_module.dumps(result, indent=2, default=str))
    else:
        module.render(result)


@app.command(rich_help_panel=SERVICES)
def doctor(json: JsonOption = False) -> None:
    """Tell what is installed, which device, which servers answer, and what mends the rest."""
    from chromaflow.services.diagnostics import doctor as module

    checks = module.examine()
    if json:
        print(json_module.dumps([check.__dict__ for check in checks], indent=2))
    else:
        module.render(checks)
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(1)


@app.command("settings", rich_help_panel=SERVICES)
def show_settings(
    preset: PresetOption = "",
    recipe: RecipeOption = "",
    set_: SetOption = None,
    json: JsonOption = False,
    presets: Annotated[bool, typer.Option("--presets", help="List the presets instead.")] = False,
    recipes: Annotated[bool, typer.Option("--recipes", help="List the recipes instead.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write them to params.yaml, too.")] = False,
) -> None:
    """Show every setting that applies, its value and what it means."""
    project, values = load(preset, set_, recipe)
    if presets or recipes:
        names = (settings.preset_names if presets else settings.recipe_names)(project)
        print_result(names, json, "\n".join(names))
        return
    if write:
        settings.save(project, values)
    print_result(values.model_dump(mode="json"), json, settings.render(values).rstrip())


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"chromaflow {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Say what every command shares."""


def main() -> None:
    """Run the command line."""
    run_told(app)


if __name__ == "__main__":
    main()
