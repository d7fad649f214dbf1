"""From a version back to the flow run that made it, through a flow that runs a real step."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("prefect")

from chromaflow.project.paths import Project
from chromaflow.provenance.facts import FlowFacts
from chromaflow.reporting.run_page import write_report
from chromaflow.settings import Settings
from chromaflow.tracking.client import connect
from chromaflow.tracking.registry.registry import Registry

ROOT = Path(__file__).parents[2]
# The step is `chromaflow register`, as the flow `retrain` runs it.
FLOW = """
from prefect import flow
from prefect.runtime import flow_run
from chromaflow import settings
from chromaflow.project.paths import Project
from chromaflow.services.prefect import wait_for_server
from flows.retrain import TASKS

@flow
def small(project):
    TASKS["register"](project)
    return flow_run.id

project = Project.find()
wait_for_server(project, settings.load(project))
print("flow run", small(project))
"""
# Without the variable Prefect takes the temporary server for one that lasts and has pages.
START = f"""
import os, sys
from chromaflow import settings
from chromaflow.project.paths import Project
from chromaflow.services.prefect import environment_with_server

project = Project.find()
environment = environment_with_server(project, settings.load(project))
del environment["PREFECT_UI_URL"]
print("server", environment["PREFECT_API_URL"].removesuffix("/api"), flush=True)
os.execve(sys.executable, [sys.executable, "-c", {FLOW!r}], environment)
"""


@pytest.mark.timeout(900)
def test_run_version_and_page_name_the_flow_run_and_its_page(
    project: Project,
    settings: Settings,
    write_candidate: Callable[[], str],
    write_evaluation: Callable[[str], None],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    project.params.write_text("servers: {start_timeout: 10min}\n")
    digest = write_candidate()
    write_evaluation(digest)
    done = run_python(START, PYTHONPATH=f"{ROOT / 'src'}:{ROOT}")
    assert done.returncode == 0, done.stderr
    told = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    flow = FlowFacts(told["flow run"], f"{told['server']}/runs/flow-run/{told['flow run']}")
    version = Registry(project, settings).version_of(digest)
    assert version is not None
    assert version.facts.run.flow == flow
    run = connect(project, settings).get_run(version.run_id)
    assert FlowFacts.from_tags(run.data.tags) == flow
    page = write_report(project, settings).read_text(encoding="utf-8")
    assert f"<code>{flow.run}</code>" in page
    assert f'<a href="{flow.page}">' in page
