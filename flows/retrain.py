"""The main job: from photographs to a promoted model, versioned, validated and tracked."""

import argparse
import sys
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chromaflow import settings
from chromaflow.errors import TEMPORARY_FAILURE, run_cli
from chromaflow.project import dvc
from chromaflow.project.paths import Project
from chromaflow.services.prefect import wait_for_server
from chromaflow.steps.table import STEPS, Step
from flows import artifacts
from flows.processes import StepFailedError, run, run_command, run_stage

# A training resumes from its checkpoint when the flow runs again; the page can be rewritten.
_NOT_RETRIED = ("train", "report")


def tell(line: str) -> None:
    """Print a line for the terminal and log it for Prefect's pages."""
    print(line, flush=True)
    get_run_logger().info(line)


@task
def apply_settings(
    project: Project, preset: str, recipe: str, overrides: tuple[str, ...]
) -> settings.Settings:
    """Write what is chosen to params.yaml, so that DVC and the next command see it."""
    values = settings.load(project, preset, overrides, recipe)
    changes = settings.changed(settings.load(project), values)
    if preset or recipe or overrides:
        settings.save(project, values)
    for name, old, new in changes:
        before, after = ("does not apply" if value is None else value for value in (old, new))
        tell(f"params.yaml: {name} {before} → {after}")
    return values


@task
def find_stale(project: Project) -> list[str]:
    """Ask DVC once which stages it would run: those that changed, and those that depend on them."""
    return dvc.with_dependents(project, dvc.stale(project))


def _make_task(step: Step) -> Task[[Project], None]:
    """A task that runs a step as a process of its own and shows in Prefect what came out."""

    def work(project: Project) -> None:
        result: dict[str, Any] = {}
        if step.stage:
            run_stage(project, step.name)
        elif step.name == "report":
            # Its tables are for whoever watches the terminal.
            run(project, step.name, [sys.executable, "-m", "chromaflow", step.name])
        else:
            result = run_command(project, step.name)
        if step.name in artifacts.OF_STEPS:
            artifacts.OF_STEPS[step.name](project, result)

    return task(name=step.name, description=step.help)(work)


TASKS = {step.name: _make_task(step) for step in STEPS}


def _may_pass(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry only what may pass by itself: a server that restarts, a lock that another holds."""
    try:
        state.result()
    except StepFailedError as error:
        return error.exit_code == TEMPORARY_FAILURE
    except Exception:
        return False
    return False


@flow(name="retrain")
def retrain(preset: str = "", recipe: str = "", overrides: tuple[str, ...] = ()) -> None:
    """Run every step that is not already done, then register, judge, promote and report.

    Args:
        preset: Settings of `configs/<preset>.yaml` instead of those in `params.yaml`.
        recipe: Model and training of `configs/recipes/<recipe>.yaml`.
        overrides: Single settings, `group.name=value`.
    """
    project = Project.find(Path(__file__).resolve().parent)
    # Another flow would change the settings and the data under this one.
    with project.lock("retrain"):
        _run_steps(project, apply_settings(project, preset, recipe, overrides))


def _run_steps(project: Project, values: settings.Settings) -> None:
    def run_task(step: Step) -> None:
        retries = 0 if step.name in _NOT_RETRIED else values.flow.retries
        TASKS[step.name].with_options(
            retries=retries,
            retry_delay_seconds=exponential_backoff(values.flow.retry_delay),
            retry_condition_fn=_may_pass,
        )(project)

    ingest, *others = STEPS
    run_task(ingest)
    stale = find_stale(project)
    for step in others:
        if step.name in stale:
            tell(f"{step.name}: {step.help}")
        if step.name in stale or not step.stage:
            run_task(step)
        elif step.name == "train":
            tell("Nothing changed since the last training: nothing to train.")


def main() -> None:
    """Run the flow once, now; exit with the code of the step that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="")
    parser.add_argument("--recipe", default="")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    project = Project.find(Path(__file__).resolve().parent)
    wait_for_server(project, settings.load(project))
    try:
        retrain(arguments.preset, arguments.recipe, tuple(arguments.overrides))
    except StepFailedError as error:
        # The step has told its reason itself.
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run_cli(main)
