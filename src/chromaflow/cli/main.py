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
from chromaflow.errors import run_cli
from chromaflow.project.paths import Project
from chromaflow.steps.table import STEPS, Step

app = typer.Typer(
    name="chromaflow",
    help="Retrain, evaluate, track and promote image colorization models; color grey photographs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

STEP_PANEL = "Pipeline steps, in order"
MAIN = "Main"
TRIALS = "Experiments"
SERVICES = "Servers and status"


app.add_typer(quarantine.group, rich_help_panel=MAIN)


def _run(step: Step, preset: str, recipe: str, set_: list[str] | None, json: bool) -> None:
    project, values = load(preset, set_, recipe)
    result = step.run(project, values)
    print_result(result.to_json(), json, result.summary())


def _add(step: Step) -> None:
    """Make a command of a step."""

    def plain(preset: PresetOption = "", set_: SetOption = None, json: JsonOption = False) -> None:
        _run(step, preset, "", set_, json)

    def with_recipe(
        preset: PresetOption = "",
        recipe: RecipeOption = "",
        set_: SetOption = None,
        json: JsonOption = False,
    ) -> None:
        _run(step, preset, recipe, set_, json)

    command = with_recipe if step.recipe else plain
    app.command(step.name, help=step.help, rich_help_panel=STEP_PANEL)(command)


for step in STEPS:
    _add(step)


@app.command(rich_help_panel=MAIN)
def retrain(preset: PresetOption = "", recipe: RecipeOption = "", set_: SetOption = None) -> None:
    """Run every step that is not up to date, then register, promote if better, and report.

    A preset, recipe or --set is written to params.yaml first, so that DVC and the next command see
    it.
    """
    project, values = load(preset, set_, recipe)
    from chromaflow.services.prefect import environment_with_server

    chosen = [f"--preset={preset}", f"--recipe={recipe}"]
    arguments = [*chosen, *(f"--set={text}" for text in set_ or ())]
    environment = environment_with_server(project, values)
    os.execve(sys.executable, [sys.executable, str(project.retrain_flow), *arguments], environment)


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
    """Show the champion, stale stages, unfinished work and which servers respond."""
    from chromaflow.services.diagnostics import status as module

    result = module.status(*load(preset, set_))
    if json:
        print(json_module.dumps(result, indent=2, default=str))
    else:
        module.render(result)


@app.command(rich_help_panel=SERVICES)
def doctor(json: JsonOption = False) -> None:
    """Check what is installed, the device and the servers, and show how to fix what is missing."""
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
    write: Annotated[bool, typer.Option("--write", help="Also write them to params.yaml.")] = False,
) -> None:
    """Show every setting that applies, its value and its meaning."""
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
    """Options that all commands share."""


def main() -> None:
    """Run the command line."""
    run_cli(app)


if __name__ == "__main__":
    main()
