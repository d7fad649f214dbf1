"""The main job: from photographs to a promoted model, every step versioned, judged and tracked."""

import argparse
import sys
from pathlib import Path
from typing import Any, TypeVar

from prefect import Task, flow, get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chromaflow import settings
from chromaflow.errors import TEMPORARY_FAILURE, run_told
from chromaflow.project import dvc
from chromaflow.project.paths import Project
from chromaflow.services.prefect import wait_for_server
from flows import artifacts
from flows.processes import StepFailedError, run, run_command, run_stage

Result = TypeVar("Result")
STAGES = ("validate", "preprocess", "train", "evaluate")


def tell(line: str) -> None:
    """Print a line for the terminal and log it for Prefect's pages."""
    print(line, flush=True)
    get_run_logger().info(line)


@task
def settle(
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
def ingest(project: Project) -> dict[str, Any]:
    """Make the raw snapshot and record it in data.dvc."""
    return run_command(project, "ingest")


@task
def find_stale(project: Project) -> set[str]:
    """Ask DVC once which stages it would run; a stage that changed makes all after it stale.

    The description hangs on the validation alone, and nothing hangs on the description.
    """
    changes = dvc.stale(project)
    first = next((index for index, name in enumerate(STAGES) if name in changes), len(STAGES))
    described = {"describe"} if first == 0 or "describe" in changes else set()
    return set(STAGES[first:]) | described


@task
def validate(project: Project) -> None:
    """Judge the manifest; split; put what fails into quarantine."""
    run_stage(project, "validate")
    artifacts.validation(project)


@task
def describe(project: Project) -> None:
    """Write the data card and the metadata of the snapshot."""
    run_stage(project, "describe")


@task
def preprocess(project: Project) -> None:
    """Turn photographs into Lab shards."""
    run_stage(project, "preprocess")


@task
def train(project: Project) -> None:
    """Train, or go on from the last checkpoint."""
    run_stage(project, "train")


@task
def evaluate(project: Project) -> None:
    """Judge the candidate by the held-out photographs."""
    run_stage(project, "evaluate")
    artifacts.evaluation(project)


@task
def register(project: Project) -> dict[str, Any]:
    """Give the candidate a version in the registry."""
    return run_command(project, "register")


@task
def promote(project: Project) -> dict[str, Any]:
    """Make the candidate the champion, if it is better."""
    decision = run_command(project, "promote")
    artifacts.decision(decision)
    return decision


@task
def report(project: Project) -> None:
    """Write the page that shows it all, and print its tables."""
    run(project, "report", [sys.executable, "-m", "chromaflow", "report"])


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
    with project.alone("retrain"):
        _run_steps(project, settle(project, preset, recipe, overrides))


def _run_steps(project: Project, values: settings.Settings) -> None:
    def retried(step: Task[[Project], Result]) -> Task[[Project], Result]:
        return step.with_options(
            retries=values.flow.retries,
            retry_delay_seconds=exponential_backoff(values.flow.retry_delay),
            retry_condition_fn=_may_pass,
        )

    retried(ingest)(project)
    stale = find_stale(project)
    data_steps = (retried(validate), retried(describe), retried(preprocess))
    for step in (*data_steps, train, retried(evaluate)):
        if step.name in stale:
            tell(f"{step.name}: {step.description}")
            step(project)
    if not stale & set(STAGES):
        tell("Nothing changed since the last training: nothing to train.")
    retried(register)(project)
    retried(promote)(project)
    report(project)


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
    run_told(main)
